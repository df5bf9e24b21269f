"""text-to-speech: VITS with one voice and with several, SpeechT5 with its vocoder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.text_to_speech import TASK
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client, wav_sound
from tests.builders.reference import library_model

TEXT = "once upon a time"
VOICE = [0.1 * number for number in range(8)]
STEP = 1 / 32767
"""Between two values of a 16-bit sample."""


@pytest.fixture
def voice(load: Load) -> Model:
    return load("vits", "text-to-waveform")


@pytest.fixture
def voices(load: Load) -> Model:
    return load("vits_speakers", "text-to-waveform")


@pytest.fixture
def reader(load: Load) -> Model:
    return load("speecht5", "text-to-spectrogram")


def vits_sound(folder: Path, seed: int, speaking_rate: Any = None, scales: Any = (), **arguments: Any) -> Any:
    model = library_model("AutoModelForTextToWaveform", folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    usual = {name: getattr(model, name) for name, _ in scales}
    for name, value in scales:
        setattr(model, name, value)
    with torch.inference_mode():
        torch.manual_seed(seed)
        sound = model(**tokenizer(TEXT, return_tensors="pt"), speaking_rate=speaking_rate, **arguments).waveform[0]
    for name, value in usual.items():
        setattr(model, name, value)
    return sound.numpy()


def assert_sounds_like(answer: Any, expected: Any, rate: Any = 16000) -> None:
    samples, its_rate = wav_sound(answer)
    assert its_rate == rate
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, np.clip(expected, -1, 1), atol=STEP)
    assert samples.std() > 10 * STEP


def test_sound_is_the_librarys(voice: Model, ask: Ask) -> None:
    assert_sounds_like(ask(TASK, voice, {"text": TEXT, "params": {"seed": 5}}), vits_sound(voice.path, 5))


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_speaking_rate_is_the_librarys(voice: Model, ask: Ask, rate: float) -> None:
    answer = ask(TASK, voice, {"text": TEXT, "params": {"seed": 5, "speaking_rate": rate}})
    assert_sounds_like(answer, vits_sound(voice.path, 5, speaking_rate=rate))


def test_noise_is_the_requests_and_then_the_models_own_again(voice: Model, ask: Ask) -> None:
    scales = {"noise_scale": 0.1, "noise_scale_duration": 0.2}
    answer = ask(TASK, voice, {"text": TEXT, "params": {"seed": 5, **scales}})
    assert_sounds_like(answer, vits_sound(voice.path, 5, scales=scales.items()))
    assert_sounds_like(ask(TASK, voice, {"text": TEXT, "params": {"seed": 5}}), vits_sound(voice.path, 5))


@pytest.mark.parametrize("speaker", [0, 2])
def test_each_speaker_is_the_librarys(voices: Model, ask: Ask, speaker: int) -> None:
    answer = ask(TASK, voices, {"text": TEXT, "params": {"seed": 5, "speaker_id": speaker}})
    assert_sounds_like(answer, vits_sound(voices.path, 5, speaker_id=speaker))


def test_the_first_speaker_speaks_by_default(voices: Model, ask: Ask) -> None:
    assert_sounds_like(
        ask(TASK, voices, {"text": TEXT, "params": {"seed": 5}}), vits_sound(voices.path, 5, speaker_id=0)
    )


def test_a_speaker_that_is_not_there_is_named(voices: Model, voice: Model, ask: Ask) -> None:
    for model, accepted in ((voices, "0 to 2"), (voice, "no such setting")):
        error = ask(TASK, model, {"text": TEXT, "params": {"speaker_id": 3}})
        assert error.data["field"] == "params.speaker_id"
        assert accepted in error.message


def test_seeds_repeat_and_calls_without_one_differ(voice: Model, ask: Ask) -> None:
    body = {"text": TEXT, "params": {"seed": 5}}
    assert ask(TASK, voice, body) == ask(TASK, voice, body)
    assert ask(TASK, voice, {"text": TEXT}) != ask(TASK, voice, {"text": TEXT})


def test_a_text_without_letters_of_the_voice_is_refused(voice: Model, ask: Ask) -> None:
    assert ask(TASK, voice, {"text": "你好"}).data["field"] == "text"
    with pytest.raises(InvalidRequest, match="text: got"):
        read(TASK, {"text": ""})


def test_spectrograms_go_through_the_vocoder_as_in_the_library(reader: Model, ask: Ask) -> None:
    answer = ask(TASK, reader, {"text": TEXT, "params": {"seed": 5, "speaker_embedding": VOICE}})
    model = library_model("SpeechT5ForTextToSpeech", reader.path)
    vocoder = library_model("SpeechT5HifiGan", reader.path / "vocoder")
    processor = transformers.AutoProcessor.from_pretrained(reader.path)
    with torch.inference_mode():
        torch.manual_seed(5)
        expected = model.generate_speech(
            processor(text=TEXT, return_tensors="pt")["input_ids"], torch.tensor([VOICE]), vocoder=vocoder
        )
    assert_sounds_like(answer, expected.numpy())


def test_frames_are_told_and_the_call_can_be_cancelled(reader: Model, ask: Ask) -> None:
    body = {"text": TEXT, "params": {"speaker_embedding": VOICE}}
    client, leaver = Client(), Client(leaves_after=2)
    ask(TASK, reader, body, **client.sinks)
    total = len(client.steps)
    assert client.steps == [(step, total) for step in range(1, total + 1)]
    assert "Cancelled" in ask(TASK, reader, body, **leaver.sinks).message
    assert len(leaver.steps) == 2


def test_a_voice_of_the_wrong_size_is_named(reader: Model, ask: Ask) -> None:
    error = ask(TASK, reader, {"text": TEXT, "params": {"speaker_embedding": VOICE[:3]}})
    assert error.data["field"] == "params.speaker_embedding"
    assert "8 numbers" in error.message


def test_spectrograms_without_a_vocoder_are_refused(reader: Model, tmp_path: Path) -> None:
    folder = shutil.copytree(reader.path, tmp_path / "mute")
    shutil.rmtree(folder / "vocoder")
    with pytest.raises(ModelRefused, match="vocoder"):
        load_model("transformers", folder, TASK.heads, device="cpu")


def test_a_voice_that_needs_a_program_is_refused(voice: Model, tmp_path: Path) -> None:
    folder = shutil.copytree(voice.path, tmp_path / "phonemes")
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"phonemize": false', '"phonemize": true'))
    with pytest.raises(ModelRefused, match="phonemizer"):
        load_model("transformers", folder, TASK.heads, device="cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [("speaking_rate", 0), ("speaker_id", -1), ("speaker_embedding", []), ("noise_scale", -1), ("seed", "x")],
)
def test_wrong_params_are_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {"text": TEXT, "params": {name: value}})
