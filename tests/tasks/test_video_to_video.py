"""video-to-video: videos made of other ones, equal to the library's own."""

from __future__ import annotations

import base64
import inspect
from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.media.encode import encode_mp4
from modelyard.tasks.body import read, to_call
from modelyard.tasks.maker import Maker
from modelyard.tasks.video_to_video import TASK, read_frames
from modelyard.worker.runtimes.pipeline_arguments import PipelineArguments
from tests.builders.films import FRAMES, film, frames_of
from tests.builders.fixtures import Ask, Load
from tests.builders.made import mp4_frames
from tests.builders.reference import call_pipeline

TEXT = "The same in winter"
PARAMS = {"num_inference_steps": 4, "strength": 0.75, "height": 32, "width": 32}
BODY = {"base64": base64.b64encode(film()).decode(), "text": TEXT}


@pytest.fixture
def director(load: Load) -> Any:
    return load("video_to_video", "video-pipeline")


def frames_read(model: Any, **params: Any) -> dict[str, Any]:
    inference = read(TASK, {**BODY, "params": params})
    return read_frames(to_call(TASK, inference.fields, inference.params), model)


def test_frames_are_the_librarys(director: Maker, ask: Ask) -> None:
    given = {"text": TEXT, **frames_read(director), "seed": 5, **PARAMS}
    made = director.make(given, lambda *_: False)
    assert made is not None
    video = frames_of(film())
    expected = call_pipeline(director.path, seed=5, prompt=TEXT, video=video, output_type="np", **PARAMS).frames[0]
    np.testing.assert_array_equal(made, (expected * 255).round().astype(np.uint8))


def test_it_takes_as_long_as_the_video_that_was_sent(director: Maker, ask: Ask) -> None:
    sent = base64.b64encode(encode_mp4([np.full((32, 32, 3), 40 * at, np.uint8) for at in range(5)], 10)).decode()
    quick = {"num_inference_steps": 2, "strength": 1.0, "seed": 5}
    frames, fps = mp4_frames(ask(TASK, director, {**BODY, "base64": sent, "params": quick}))
    assert len(frames) / fps == pytest.approx(5 / 10, rel=0.01)
    _, asked = mp4_frames(ask(TASK, director, {**BODY, "base64": sent, "params": {**quick, "fps": 24}}))
    assert asked == 24


def test_as_many_frames_are_read_as_asked_for(director: Maker) -> None:
    assert len(frames_read(director)["video"]) == FRAMES
    assert "num_frames" not in frames_read(director)
    few = frames_read(director, num_frames=2)["video"]
    for read_frame, sent in zip(few, (frames_of(film())[0], frames_of(film())[-1]), strict=True):
        np.testing.assert_array_equal(np.asarray(read_frame), np.asarray(sent))


@pytest.mark.parametrize(("family", "head"), [("text_to_video_sd", "video-pipeline"), ("ddpm", "image-pipeline")])
def test_a_model_that_reads_no_video_says_so(load: Load, ask: Ask, family: str, head: str) -> None:
    assert ask(TASK, load(family, head), {"base64": BODY["base64"]}).data["field"] == "base64"


def follows(video: Any, conditioning_frames: Any = None, generator: Any = None) -> None:
    """A call that follows edges beside the video that it changes."""


def places(video: Any = None, frame_index: int = 0) -> None:
    """A call that takes several videos."""


def edges(prompt: Any, control_video: Any = None) -> None:
    """A call that follows edges, and changes nothing."""


@pytest.mark.parametrize(
    ("call", "passed"),
    [
        (follows, {"video": [1, 2], "conditioning_frames": [1, 2]}),
        (places, {"video": [[1, 2]]}),
        (edges, {"control_video": [1, 2]}),
    ],
)
def test_a_video_reaches_a_pipeline_under_its_names(call: Any, passed: dict[str, Any]) -> None:
    arguments = PipelineArguments("Some", inspect.signature(call).parameters)
    assert arguments.of({"video": [1, 2]}) == passed


@pytest.mark.parametrize(("name", "value"), [("strength", 0), ("num_frames", 0), ("fps", 0.5)])
def test_wrong_params_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {**BODY, "params": {name: value}})


def test_an_image_is_no_video() -> None:
    with pytest.raises(InvalidRequest, match="media: missing"):
        read(TASK, {"text": TEXT})
