"""Families of pipelines that few servers serve, asked over HTTP: what comes is what the library makes itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.made import mp4_frames, png_pixels
from tests.coverage import pipelines
from tests.later import Later
from tests.serving import Server

pytestmark = [pytest.mark.verify(part="models"), pytest.mark.timeout(1200)]
asking, recipes = Later("tests.coverage.pipelines.asking"), Later("tests.coverage.pipelines.recipes")

FAMILIES = {
    "StableVideoDiffusionPipeline": "image-to-video",
    "CogVideoXImageToVideoPipeline": "image-to-video",
    "WanImageToVideoPipeline": "image-to-video",
    "LTXImageToVideoPipeline": "image-to-video",
    "HunyuanVideoImageToVideoPipeline": "image-to-video",
    "HunyuanSkyreelsImageToVideoPipeline": "image-to-video",
    "HunyuanVideo15ImageToVideoPipeline": "image-to-video",
    "SkyReelsV2ImageToVideoPipeline": "image-to-video",
    "PIAPipeline": "image-to-video",
    "LTX2ImageToVideoPipeline": "image-to-video",
    "Kandinsky5I2VPipeline": "image-to-video",
    "AnimateDiffPipeline": "text-to-video",
    "AnimateDiffVideoToVideoPipeline": "video-to-video",
    "AnimateDiffControlNetPipeline": "video-to-video",
    "CogVideoXVideoToVideoPipeline": "video-to-video",
    "WanVideoToVideoPipeline": "video-to-video",
    "LTXConditionPipeline": "video-to-video",
    "WanPipeline": "text-to-video",
    "LTXPipeline": "text-to-video",
    "LTX2Pipeline": "text-to-video",
    "HunyuanVideoPipeline": "text-to-video",
    "Kandinsky5T2VPipeline": "text-to-video",
    "Kandinsky5T2IPipeline": "text-to-image",
    "KolorsPipeline": "text-to-image",
    "Flux2Pipeline": "text-to-image",
    "Kandinsky5I2IPipeline": "image-to-image",
    "QwenImageEditPipeline": "image-to-image",
    "StableDiffusionAdapterPipeline": "image-to-image",
    "StableDiffusionControlNetXSPipeline": "image-to-image",
    "QwenImageControlNetPipeline": "image-to-image",
    "StableDiffusionControlNetPipeline": "image-to-image",
    "StableDiffusionXLControlNetPipeline": "image-to-image",
    "StableDiffusionXLControlNetUnionPipeline": "image-to-image",
    "StableDiffusion3ControlNetPipeline": "image-to-image",
    "FluxControlNetPipeline": "image-to-image",
    "FluxFillPipeline": "image-to-image",
    "MarigoldDepthPipeline": "depth-estimation",
    "MarigoldNormalsPipeline": "image-to-image",
}
"""A class, and the task that its folder's card names."""
WITH_PROCESSORS = (
    "Kandinsky5T2VPipeline", "Kandinsky5I2IPipeline", "QwenImageEditPipeline", "Flux2Pipeline",
)  # fmt: skip
"""Those whose text is read by what also sees. `make verify-vision` asks them too: there the library loads them."""
ASKED = [
    pytest.param(name, marks=pytest.mark.verify(part="vision") if name in WITH_PROCESSORS else ()) for name in FAMILIES
]
LIKENESS = 0.9
"""Correlation of two MP4s of the same frames, at least: these are noise, and their last bits depend on how many threads
computed them, on which the encoder decides otherwise."""

ROUNDING = 1
"""Of 255 levels of a pixel, for the same reason."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder, empty at first."""
    pipelines.preload()  # in the order that torchvision wants where it is installed
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of them."""
    with Server(tmp_path_factory.mktemp("server"), models) as running:
        yield running


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ASKED)
def test_an_answer_over_http_is_the_librarys(server: Server, models: Path, name: str) -> None:
    task, folder = FAMILIES[name], models / "tiny" / name
    recipes.build(name, recipes.find_recipe(name), folder)
    (folder / "README.md").write_text(f"---\npipeline_tag: {task}\n---\n")
    expected = asking.ask_library(name, task, folder)
    answered = server.post(f"tiny/{name}", **asking.body_of(name, task), json=task == "depth-estimation")
    assert answered.status_code == 200, answered.text
    server.delete(f"tiny/{name}")
    if task == "depth-estimation":
        made = np.asarray(answered.json()["output"]["formatted_predicted_depth_array"], np.float32)
        assert asking.find_difference(made, expected) == ""
    elif task.endswith("-to-video"):
        frames, rate = mp4_frames(as_file(answered))
        again = encoded((expected * 255).round().astype(np.uint8), rate)
        assert frames.shape == again.shape
        assert np.corrcoef(frames.ravel(), again.ravel())[0, 1] > LIKENESS
    else:
        made, again = png_pixels(as_file(answered)), (expected * 255).round().astype(np.uint8)
        assert made.shape == again.shape
        assert np.abs(made.astype(int) - again).max() <= ROUNDING


def as_file(answered: Any) -> dict[str, Any]:
    """A file that was answered, as the readers of files take it."""
    return {"media_type": answered.headers["content-type"], "data": base64.b64encode(answered.content)}


def encoded(frames: Any, rate: float) -> Any:
    """Frames as an MP4 gives them back."""
    from modelyard.media.encode import encode_mp4

    data = base64.b64encode(encode_mp4(frames, rate))
    return mp4_frames({"media_type": "video/mp4", "data": data})[0]


def test_parts_over_http_are_put_into_the_base_that_their_cards_name(server: Server, models: Path) -> None:
    from tests.builders import build
    from tests.builders.parts import publish_control_net, publish_motion_adapter

    base = build("stable_diffusion", models / "tiny" / "base")
    publish_control_net(base, models / "tiny" / "canny", "tiny/base")
    publish_motion_adapter(models / "tiny" / "motion", "tiny/base")
    settings = {"num_inference_steps": 2, "height": 32, "width": 32, "seed": 5}
    body = {"base64": asking.in_base64(asking.picture()), "text": asking.TEXT, "params": settings}
    drawn = server.post("tiny/canny", **body, json=False)
    assert drawn.status_code == 200, drawn.text
    assert png_pixels(as_file(drawn)).shape == (32, 32, 3)
    moved = server.post("tiny/motion", text=asking.TEXT, params={**settings, "num_frames": 3}, json=False)
    assert moved.status_code == 200, moved.text
    assert mp4_frames(as_file(moved))[0].shape == (3, 32, 32, 3)
    unread = server.post("tiny/motion", **body)
    assert unread.status_code == 200  # a text is all that it reads: other tasks' fields are ignored
    wrong = server.post("tiny/canny", text=asking.TEXT)
    assert (wrong.status_code, "media: missing" in wrong.text) == (422, True)
