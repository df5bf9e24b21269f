"""Which files of a repository are fetched."""

from __future__ import annotations

from modelyard.catalog.selection import select_files
from modelyard.records.models import Inspection


def test_voices_are_fetched_wherever_they_lie_in_their_folders_and_no_other_arrays() -> None:
    names = [
        "config.json", "speaker_embeddings_path.json", "speaker_embeddings/v2/en_speaker_6_coarse_prompt.npy",
        "voices/amy.npy", "data/train.npy", "features.npy", "voices/amy.wav", "spk_dict.pt", "optimizer.pt",
        "old/spk_dict.pt", "model.safetensors",
    ]  # fmt: skip
    small, weights = select_files(names, Inspection(weight_files=("model.safetensors",)))
    assert small == [
        "config.json", "speaker_embeddings/v2/en_speaker_6_coarse_prompt.npy", "speaker_embeddings_path.json",
        "spk_dict.pt", "voices/amy.npy",
    ]  # fmt: skip
    assert weights == ["model.safetensors"]
