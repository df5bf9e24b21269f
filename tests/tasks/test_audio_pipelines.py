"""text-to-audio of diffusers' pipelines for music and sounds. tests/e2e/test_voices.py asks them over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.tasks.text_to_audio import TASK
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.builders.made import wav_sound
from tests.coverage.pipelines.recipes import build
from tests.tasks.spoken import assert_same_sound
from tests.tasks.sung import SONGS, library_song

pytestmark = [
    pytest.mark.imports_models,
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),  # by the library, to itself
]
ELSEWHERE = ("StableAudioPipeline", "AudioLDM2Pipeline")
"""Of these, tests/e2e/test_pipelines.py and `make coverage` have short forms."""


@pytest.mark.parametrize("name", [name for name in SONGS if name not in ELSEWHERE])
def test_a_pipeline_sounds_as_the_library_has_it(name: str, tmp_path: Path, ask: Ask) -> None:
    build(name, SONGS[name].recipe, tmp_path)
    model = load_model("diffusers", tmp_path, TASK.heads, device="cpu")
    samples, rate = wav_sound(ask(TASK, model, SONGS[name].body))
    assert_same_sound(samples, library_song(name, tmp_path))
    assert rate == (16000 if name == "MusicLDMPipeline" else 800)
