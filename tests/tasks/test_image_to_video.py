"""image-to-video: videos that begin with an image, equal to the library's own."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.image_to_video import TASK
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared.images import EXAMPLE
from modelyard.worker.runtimes.pipeline_arguments import PipelineArguments, find_default
from tests.builders.fixtures import Ask, Load
from tests.builders.made import mp4_frames
from tests.builders.reference import call_pipeline
from tests.tasks.test_image_to_image import BODY, TEXT, picture

PARAMS = {"num_inference_steps": 2, "num_frames": 5, "height": 32, "width": 32}


@pytest.fixture
def animator(load: Load) -> Any:
    return load("image_to_video", "video-pipeline")


def test_frames_are_the_librarys(animator: Maker, ask: Ask) -> None:
    answer = ask(TASK, animator, {**BODY, "params": {**PARAMS, "seed": 5, "fps": 12}})
    frames, fps = mp4_frames(answer)
    given = {"text": TEXT, "image": picture(), "seed": 5, **PARAMS}
    made = animator.make(given, lambda *_: False)
    assert made is not None
    expected = call_pipeline(animator.path, seed=5, prompt=TEXT, image=picture(), output_type="np", **PARAMS).frames[0]
    np.testing.assert_array_equal(made, (expected * 255).round().astype(np.uint8))
    assert (frames.shape, fps) == (made.shape, 12)


def test_no_text_is_an_empty_one_and_rate_and_size_have_defaults(animator: Maker, ask: Ask) -> None:
    params = {"num_inference_steps": 1, "num_frames": 5, "seed": 5}
    without = ask(TASK, animator, {"base64": BODY["base64"], "params": params})
    assert without == ask(TASK, animator, {**BODY, "text": "", "params": params})
    frames, fps = mp4_frames(without)
    assert (frames.shape[1:], fps) == ((32, 32, 3), 8)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"last_image_url": f"data:image/png;base64,{EXAMPLE}"}, "last_image_url"),
        ({"params": {"motion_bucket_id": 3}}, "params.motion_bucket_id"),
    ],
)
def test_what_the_model_does_not_read_is_named(animator: Maker, ask: Ask, more: dict[str, Any], field: str) -> None:
    assert ask(TASK, animator, {**BODY, **more}).data["field"] == field


def stable_video(
    self: Any, image: Any, num_frames: int = 25, max_guidance_scale: float = 3.0, fps: int = 7, generator: Any = None
) -> None:
    """A call such as that of Stable Video Diffusion."""


def test_a_rate_that_the_model_is_made_for_is_passed_on_and_is_the_default() -> None:
    taken = dict(list(inspect.signature(stable_video).parameters.items())[1:])
    arguments = PipelineArguments("Some", taken)
    assert arguments.of({"image": 1, "fps": 12, "guidance_scale": 2}) == {
        "image": 1,
        "fps": 12,
        "max_guidance_scale": 2,
    }
    assert find_default(taken, arguments.names["fps"]) == 7
    assert find_default(taken, None) is None


@pytest.mark.parametrize(
    ("name", "value"), [("num_frames", 258), ("fps", 61), ("motion_bucket_id", 256), ("noise_aug_strength", -1)]
)
def test_wrong_params_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {**BODY, "params": {name: value}})


def test_a_body_without_an_image_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="media: missing"):
        read(TASK, {"text": TEXT})
