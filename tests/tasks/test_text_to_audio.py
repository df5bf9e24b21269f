"""text-to-audio: MusicGen on transformers, AudioLDM on diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.text_to_audio import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client, wav_sound
from tests.builders.reference import call_pipeline, library_model

TEXT = "A calm tune on a wooden flute"
RATE = 800
"""Samples a second of the tiny MusicGen, which makes 25 steps in one."""
STEP = 1 / 32767


@pytest.fixture
def band(load: Load) -> Model:
    return load("musicgen", "text-to-waveform")


@pytest.fixture
def foley(load: Load) -> Model:
    return load("audioldm", "audio-pipeline")


def musicgen_sound(folder: Path, seed: int, **options: Any) -> Any:
    model = library_model("AutoModelForTextToWaveform", folder)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    with torch.inference_mode():
        torch.manual_seed(seed)
        return model.generate(**processor(text=[TEXT], return_tensors="pt"), **options)[0, 0].numpy()


def assert_sounds_like(answer: Any, expected: Any, rate: Any) -> None:
    samples, its_rate = wav_sound(answer)
    assert its_rate == rate
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, np.clip(expected, -1, 1), atol=STEP)
    assert samples.std() > 10 * STEP


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 20},
        {"max_new_tokens": 20, "guidance_scale": 1.0},
        {"max_new_tokens": 20, "temperature": 0.5, "top_k": 10, "top_p": 0.9},
        {"max_new_tokens": 20, "do_sample": False},
    ],
)
def test_sound_is_the_librarys(band: Model, ask: Ask, options: dict[str, Any]) -> None:
    answer = ask(TASK, band, {"text": TEXT, "params": {"seed": 5, **options}})
    assert_sounds_like(answer, musicgen_sound(band.path, 5, **options), RATE)


def test_length_is_the_models_own_by_default(band: Model, ask: Ask) -> None:
    answer = ask(TASK, band, {"text": TEXT, "params": {"seed": 5}})
    assert_sounds_like(answer, musicgen_sound(band.path, 5), RATE)


@pytest.mark.parametrize("duration", [0.01, 0.5, 1.33])
def test_duration_is_kept_to_the_sample(band: Model, ask: Ask, duration: float) -> None:
    samples, rate = wav_sound(ask(TASK, band, {"text": TEXT, "params": {"duration": duration}}))
    assert len(samples) == round(duration * rate)


def test_duration_is_the_beginning_of_what_the_library_makes(band: Model, ask: Ask) -> None:
    answer = ask(TASK, band, {"text": TEXT, "params": {"seed": 5, "duration": 0.67}})
    # 17 steps are 0.68 s; the 4 codebooks lie one step apart, so that the last one ends 3 steps later.
    assert_sounds_like(answer, musicgen_sound(band.path, 5, max_new_tokens=20)[: round(0.67 * RATE)], RATE)


def test_seeds_repeat_and_calls_without_one_differ(band: Model, ask: Ask) -> None:
    params = {"seed": 5, "max_new_tokens": 10}
    body = {"text": TEXT, "params": params}
    assert ask(TASK, band, body) == ask(TASK, band, body)
    del params["seed"]
    assert ask(TASK, band, body) != ask(TASK, band, body)


def test_steps_are_told_and_the_call_can_be_cancelled(band: Model, foley: Model, ask: Ask) -> None:
    for model, params in ((band, {"max_new_tokens": 12}), (foley, {"num_inference_steps": 12, "duration": 0.005})):
        client, leaver = Client(), Client(leaves_after=3)
        ask(TASK, model, {"text": TEXT, "params": params}, **client.sinks)
        assert client.steps == [(step, 12) for step in range(1, 13)]
        assert "Cancelled" in ask(TASK, model, {"text": TEXT, "params": params}, **leaver.sinks).message
        assert len(leaver.steps) == 3


def test_sound_by_diffusion_is_the_librarys(foley: Model, ask: Ask) -> None:
    params = {"num_inference_steps": 2, "guidance_scale": 2.0, "negative_prompt": "noise"}
    answer = ask(TASK, foley, {"text": TEXT, "params": {**params, "seed": 5, "duration": 0.02}})
    expected = call_pipeline(foley.path, seed=5, prompt=TEXT, audio_length_in_s=0.02, **params).audios[0]
    assert len(expected) == 320
    assert_sounds_like(answer, expected, 16000)


@pytest.mark.parametrize(
    ("family", "head", "params"),
    [
        ("musicgen", "text-to-waveform", {"num_inference_steps": 2}),
        ("audioldm", "audio-pipeline", {"max_new_tokens": 2}),
    ],
)
def test_params_of_the_other_family_are_named(
    load: Load, ask: Ask, family: str, head: str, params: dict[str, Any]
) -> None:
    error = ask(TASK, load(family, head), {"text": TEXT, "params": params})
    assert error.data["field"] == f"params.{next(iter(params))}"
    assert "it has " in error.message
    assert "duration" in error.message


@pytest.mark.parametrize(
    ("name", "value"), [("duration", 0), ("duration", 301), ("max_new_tokens", 0), ("top_p", 2), ("do_sample", "yes")]
)
def test_wrong_params_are_named(name: str, value: int | str) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {"text": TEXT, "params": {name: value}})


def test_two_lengths_contradict_each_other() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.max_new_tokens"):
        read(TASK, {"text": TEXT, "params": {"duration": 1, "max_new_tokens": 5}})
