"""text-to-video: a latent diffusion model with a 3-D denoiser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.maker import Maker
from modelyard.tasks.text_to_video import TASK
from tests.builders.fixtures import Ask
from tests.builders.made import Client, mp4_frames
from tests.builders.reference import call_pipeline

TEXT = "A small fox runs along the river"


@pytest.fixture
def director(load: Callable[[str, str], Maker]) -> Maker:
    return load("text_to_video_sd", "video-pipeline")


def test_frames_are_the_librarys(director: Maker, ask: Ask) -> None:
    params = {"num_inference_steps": 2, "num_frames": 5, "height": 32, "width": 48, "guidance_scale": 5.0}
    answer = ask(TASK, director, {"text": TEXT, "params": {**params, "seed": 5, "fps": 12}})
    frames, fps = mp4_frames(answer)
    made = director.make({"text": TEXT, "seed": 5, **params}, lambda *_: False)
    assert made is not None
    expected = call_pipeline(director.path, seed=5, prompt=TEXT, output_type="np", **params).frames[0]
    np.testing.assert_array_equal(made, (expected * 255).round().astype(np.uint8))
    assert frames.shape == made.shape == (5, 32, 48, 3)
    assert fps == 12
    # H.264 halves the resolution of colour, and these frames are noise: the brightness is what survives.
    assert np.abs(frames.mean(axis=-1) - made.mean(axis=-1)).mean() < 12


def test_length_size_and_speed_have_defaults(director: Maker, ask: Ask) -> None:
    frames, fps = mp4_frames(ask(TASK, director, {"text": TEXT, "params": {"num_inference_steps": 1, "seed": 0}}))
    assert frames.shape == (16, 32, 32, 3)
    assert fps == 8


def test_seeds_repeat_steps_are_told_and_calls_can_be_cancelled(director: Maker, ask: Ask) -> None:
    body = {"text": TEXT, "params": {"num_inference_steps": 3, "num_frames": 2, "seed": 5}}
    client, leaver = Client(), Client(leaves_after=1)
    assert ask(TASK, director, body, **client.sinks) == ask(TASK, director, body)
    assert client.steps == [(1, 3), (2, 3), (3, 3)]
    assert "Cancelled" in ask(TASK, director, body, **leaver.sinks).message
    assert len(leaver.steps) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("num_frames", 0), ("num_frames", 1000), ("fps", 0), ("fps", 61), ("height", 12), ("width", -8)]
)
def test_wrong_params_are_named(name: str, value: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {"text": TEXT, "params": {name: value}})
