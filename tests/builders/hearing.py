"""Models that hear and are asked in words, in the form of their repositories."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as library

from tests.builders.families import spread, write_json
from tests.builders.multimodal import small
from tests.builders.reference import library_model

VOXTRAL_MARKS = {
    0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]",
    32: "[STREAMING_PAD]", 34: "[TRANSCRIBE]",
}  # fmt: skip
"""Where Voxtral's tokenizer has its special tokens, of those that requests are written with."""
VOXTRAL_SPECIALS = 40


def write_tekken(folder: Path, **audio: Any) -> None:
    """Writes Mistral's file of tokens, of which each byte is one, with what it says of sounds."""
    folder.mkdir(parents=True, exist_ok=True)
    specials = [VOXTRAL_MARKS.get(rank, f"<SPECIAL_{rank}>") for rank in range(VOXTRAL_SPECIALS)]
    write_json(
        folder / "tekken.json",
        {
            "config": {
                "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
                "num_vocab_tokens": 256,
                "default_vocab_size": 256 + VOXTRAL_SPECIALS,
                "default_num_special_tokens": VOXTRAL_SPECIALS,
                "version": "v11",
            },
            "vocab": [
                {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
                for byte in range(256)
            ],
            "special_tokens": [
                {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(specials)
            ],
            "audio": {
                "sampling_rate": 16_000,
                "frame_rate": 12.5,
                "audio_encoding_config": {"num_mel_bins": 16, "hop_length": 160, "window_size": 400},
                **audio,
            },
        },
    )


def text_of_voxtral(kind: str) -> dict[str, Any]:
    """The sizes of the part that writes."""
    return {
        "model_type": kind, **small(num_key_value_heads=1, max_position_embeddings=1024),
        "vocab_size": 256 + VOXTRAL_SPECIALS, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 11,
    }  # fmt: skip


def writing_ascii(model: Any) -> Any:
    """The model with larger random weights, which writes ASCII and no marks."""
    spread(model)
    parts = [*range(VOXTRAL_SPECIALS), *range(VOXTRAL_SPECIALS + 128, VOXTRAL_SPECIALS + 256)]
    model.generation_config.suppress_tokens = [part for part in parts if part != 2]
    return model


def voxtral(folder: Path) -> None:
    """Voxtral: Whisper's ears in front of Llama, with Mistral's file of tokens."""
    write_tekken(folder, chunk_length_s=30.0)
    audio = {
        "model_type": "voxtral_encoder", "num_mel_bins": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "hidden_size": 16, "intermediate_size": 64,
    }  # fmt: skip
    config = library.VoxtralConfig(audio_config=audio, text_config=text_of_voxtral("llama"), audio_token_id=24)
    model = writing_ascii(library.VoxtralForConditionalGeneration(config))
    library.WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)
    model.save_pretrained(folder)


def voxtral_realtime(folder: Path) -> None:
    """Voxtral that hears 80 ms with each token, and is six of them late."""
    write_tekken(folder, transcription_delay_ms=480, streaming_n_left_pad_tokens=32)
    audio = {**small(num_mel_bins=16, head_dim=16), "model_type": "voxtral_realtime_encoder"}
    text = {**text_of_voxtral("voxtral_realtime_text"), "head_dim": 16}
    config = library.VoxtralRealtimeConfig(audio_config=audio, text_config=text)
    model = writing_ascii(library.VoxtralRealtimeForConditionalGeneration(config))
    extractor = library.VoxtralRealtimeFeatureExtractor(feature_size=16, processor_class="VoxtralRealtimeProcessor")
    extractor.save_pretrained(folder)
    model.save_pretrained(folder)


def voxtral_realtime_writes(folder: Path, sound: Any) -> str:
    """What the library alone writes to a sound: behind silence of 32 tokens, before that of 17, which mistral-common
    puts around it."""
    rest = -len(sound) % 1280
    around = torch.nn.functional.pad(torch.tensor(sound), (32 * 1280, rest + 17 * 1280)).numpy()
    extractor = library.VoxtralRealtimeFeatureExtractor.from_pretrained(folder)
    features = extractor(around, sampling_rate=16_000, return_tensors="pt")["input_features"]
    model = library_model("VoxtralRealtimeForConditionalGeneration", folder)
    ids = torch.tensor([[1, *[32] * 38]])
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that the sound's length is no number of tokens that was asked for
        made = model.generate(input_ids=ids, input_features=features, num_delay_tokens=6, do_sample=False)
    return in_bytes(made[0, ids.shape[1] :])


def in_bytes(tokens: Any) -> str:
    """The text of tokens."""
    return bytes(int(token) - VOXTRAL_SPECIALS for token in tokens if token >= VOXTRAL_SPECIALS).decode()


def voxtral_writes(folder: Path, sound: Any, ids: list[int], **settings: Any) -> str:
    """What the library alone writes to the tokens `ids`, which stand for `sound` as one piece of 30 seconds."""
    features = library.WhisperFeatureExtractor.from_pretrained(folder)(
        sound, sampling_rate=16_000, pad_to_multiple_of=480_000, truncation=False, return_tensors="pt"
    )
    model = library_model("VoxtralForConditionalGeneration", folder)
    with torch.inference_mode():
        made = model.generate(torch.tensor([ids]), input_features=features["input_features"], **settings)[0, len(ids) :]
    return in_bytes(made)


FAMILIES: dict[str, Callable[[Path], None]] = {"voxtral": voxtral, "voxtral_realtime": voxtral_realtime}
