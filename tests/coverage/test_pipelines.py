"""The instrument on one pipeline of each kind that it measures; `make coverage` measures the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coverage.cases import Case, Finding, Status
from tests.coverage.pipelines import check, list_cases, preload

pytestmark = pytest.mark.imports_models


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("AuraFlowPipeline", "text-to-image"),
        ("FluxControlNetInpaintPipeline", "image-to-image"),
        ("ConsistencyModelPipeline", "unconditional-image-generation"),
        ("AnimateDiffPipeline", "text-to-video"),
        ("LattePipeline", "text-to-video"),
        ("StableVideoDiffusionPipeline", "image-to-video"),
        ("WanImageToVideoPipeline", "image-to-video"),
        ("LTXImageToVideoPipeline", "image-to-video"),
        ("HunyuanVideoImageToVideoPipeline", "image-to-video"),
        ("LTX2Pipeline", "text-to-video"),
        ("Kandinsky5T2VPipeline", "text-to-video"),
        ("Flux2Pipeline", "text-to-image"),
        ("LucyEditPipeline", "video-to-video"),
        ("AnimateDiffVideoToVideoControlNetPipeline", "video-to-video"),
        ("StableDiffusionXLControlNetUnionPipeline", "image-to-image"),
        ("FluxFillPipeline", "image-to-image"),
        ("MarigoldDepthPipeline", "depth-estimation"),
        ("MarigoldNormalsPipeline", "image-to-image"),
        ("StableDiffusion3ControlNetPipeline", "image-to-image"),
        ("StableAudioPipeline", "text-to-audio"),
    ],
)
def test_a_pipeline_answers_as_the_library_does(name: str, task: str, tmp_path: Path) -> None:
    preload()
    assert check(Case("pipelines", "", name, "pipeline"), tmp_path) == Finding(Status.EQUAL, task)


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    preload()
    without_recipe = check(Case("pipelines", "", "ShapEPipeline", "pipeline"), tmp_path / "unknown")
    assert without_recipe.status is Status.NOT_BUILT
    of_a_pose = check(Case("pipelines", "", "WanAnimatePipeline", "pipeline"), tmp_path / "video")
    assert of_a_pose.status is Status.NO_TASK
    assert "needs face_video, pose_video" in of_a_pose.detail


@pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl", "flux"])
def test_the_library_itself_says_which_classes_there_are(family: str) -> None:
    assert len([case for case in list_cases() if case.family == family]) > 5
