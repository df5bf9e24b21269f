"""From the class of a diffusers pipeline to its task, by the library's own source."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.pipelines import describe_refusal, detect_pipeline_task, find_call
from tests.catalog.models import diffusers, text, write


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("StableDiffusionPipeline", "text-to-image"),
        ("FluxPipeline", "text-to-image"),
        ("HunyuanDiTPipeline", "text-to-image"),
        ("LatentConsistencyModelPipeline", "text-to-image"),
        ("LDMTextToImagePipeline", "text-to-image"),
        ("StableCascadeCombinedPipeline", "text-to-image"),
        ("Flux2Pipeline", "text-to-image"),
        ("GlmImagePipeline", "text-to-image"),
        ("DDPMPipeline", "unconditional-image-generation"),
        ("DiTPipeline", "unconditional-image-generation"),
        ("LDMPipeline", "unconditional-image-generation"),
        ("StableDiffusionImg2ImgPipeline", "image-to-image"),
        ("StableDiffusionInpaintPipeline", "image-to-image"),
        ("StableDiffusionInstructPix2PixPipeline", "image-to-image"),
        ("StableDiffusionUpscalePipeline", "image-to-image"),
        ("StableDiffusionControlNetPipeline", "image-to-image"),
        ("StableDiffusionXLAdapterPipeline", "image-to-image"),
        ("StableDiffusionImageVariationPipeline", "image-to-image"),
        ("FluxControlPipeline", "image-to-image"),
        ("FluxKontextPipeline", "image-to-image"),
        ("QwenImageEditPlusPipeline", "image-to-image"),
        ("LDMSuperResolutionPipeline", "image-to-image"),
        ("TextToVideoSDPipeline", "text-to-video"),
        ("TextToVideoZeroPipeline", "text-to-video"),
        ("WanPipeline", "text-to-video"),
        ("AllegroPipeline", "text-to-video"),
        ("CogVideoXPipeline", "text-to-video"),
        ("CosmosTextToWorldPipeline", "text-to-video"),
        ("SkyReelsV2Pipeline", "text-to-video"),
        ("AudioLDM2Pipeline", "text-to-audio"),
        ("AceStepPipeline", "text-to-audio"),
        ("StableAudio3Pipeline", "text-to-audio"),
        ("MusicLDMPipeline", "text-to-audio"),
        ("WanVACEPipeline", "text-to-video"),
        ("LTXConditionPipeline", "text-to-video"),
        ("WanImageToVideoPipeline", "image-to-video"),
        ("StableVideoDiffusionPipeline", "image-to-video"),
        ("I2VGenXLPipeline", "image-to-video"),
        ("CogVideoXImageToVideoPipeline", "image-to-video"),
        ("LTXImageToVideoPipeline", "image-to-video"),
        ("HunyuanVideoImageToVideoPipeline", "image-to-video"),
        ("Kandinsky5I2VPipeline", "image-to-video"),
        ("Cosmos2VideoToWorldPipeline", "image-to-video"),
        ("PIAPipeline", "image-to-video"),
        ("WanVideoToVideoPipeline", "video-to-video"),
        ("CogVideoXVideoToVideoPipeline", "video-to-video"),
        ("CogVideoXFunControlPipeline", "video-to-video"),
        ("AnimateDiffVideoToVideoPipeline", "video-to-video"),
        ("AnimateDiffControlNetPipeline", "video-to-video"),
        ("AnimateDiffVideoToVideoControlNetPipeline", "video-to-video"),
        ("LTXLatentUpsamplePipeline", "video-to-video"),
        ("MarigoldDepthPipeline", "depth-estimation"),
        ("MarigoldNormalsPipeline", "image-to-image"),
        ("MarigoldIntrinsicsPipeline", None),
        ("WanAnimatePipeline", None),
        ("DanceDiffusionPipeline", None),
        ("StableCascadeDecoderPipeline", None),
        ("PaintByExamplePipeline", None),
        ("PipelineOfTomorrow", None),
    ],
)
def test_a_pipeline_class_tells_the_task(pipeline: str, expected: str | None) -> None:
    assert detect_pipeline_task(tag=None, pipeline=pipeline) == expected


@pytest.mark.parametrize(
    ("pipeline", "tag", "expected"),
    [
        ("Flux2Pipeline", "image-to-image", "image-to-image"),  # it does both
        ("StableDiffusionInpaintPipeline", "text-to-image", "image-to-image"),  # as many cards of the hub have it
        ("LTXPipeline", "image-to-video", "text-to-video"),  # one of the pipelines of that repository's weights
        ("LTXConditionPipeline", "image-to-video", "image-to-video"),
        ("LTXConditionPipeline", "video-to-video", "video-to-video"),
        ("Cosmos2VideoToWorldPipeline", "video-to-video", "video-to-video"),
        ("StableDiffusionPipeline", "text-classification", "text-to-image"),
        ("PipelineOfTomorrow", "text-to-image", "text-to-image"),
        ("PipelineOfTomorrow", "text-classification", None),
    ],
)
def test_a_tag_chooses_among_what_the_pipeline_can_do(pipeline: str, tag: str, expected: str | None) -> None:
    assert detect_pipeline_task(tag=tag, pipeline=pipeline) == expected


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("WanAnimatePipeline", "needs face_video, pose_video"),
        ("DanceDiffusionPipeline", "reads no text"),
        ("MarigoldIntrinsicsPipeline", "makes no image, video or sound"),
        ("QwenImageLayeredPipeline", "makes several images of one"),
        ("PipelineOfTomorrow", "the installed diffusers does not have"),
    ],
)
def test_what_no_task_serves_says_why(pipeline: str, says: str, tmp_path: Path) -> None:
    assert says in describe_refusal(pipeline)
    write(tmp_path, diffusers(pipeline))
    found = inspect_folder(tmp_path)
    assert found.task is None
    assert says in (found.problem or "")


@pytest.mark.parametrize("pipeline", ["CosmosTextToWorldPipeline", "Cosmos2VideoToWorldPipeline"])
def test_a_pipeline_whose_checker_cannot_be_made_is_refused_by_its_files(pipeline: str, tmp_path: Path) -> None:
    said = f"is a {pipeline}, which is loaded with a safety checker of the library cosmos_guardrail only"
    assert said in (inspect_folder(write(tmp_path, diffusers(pipeline))).problem or "")


@pytest.mark.parametrize("wanted", [True, False])
def test_the_index_says_whether_a_checker_is_wanted(wanted: bool, tmp_path: Path) -> None:
    write(tmp_path, diffusers("Cosmos3OmniPipeline", enable_safety_checker=wanted))
    assert ("cosmos_guardrail" in (inspect_folder(tmp_path).problem or "")) is wanted


@pytest.mark.imports_models
def test_the_source_says_what_the_imported_class_says() -> None:
    """The one way that must not be taken in a server, taken here to compare."""
    import inspect as signatures

    import diffusers as library

    for name in ("StableDiffusionXLControlNetInpaintPipeline", "DiTPipeline", "KandinskyInpaintCombinedPipeline"):
        call = find_call(name)
        parameters = dict(signatures.signature(getattr(library, name).__call__).parameters)
        parameters.pop("self")
        named = {key for key, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
        assert call is not None
        assert call.takes == named
        assert call.needs == {key for key in named if parameters[key].default is parameters[key].empty}


def test_parts_without_weights_are_no_missing_weights(tmp_path: Path) -> None:
    files = diffusers("StableDiffusion3Pipeline")
    index = {
        "_class_name": "StableDiffusion3Pipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "guider": ["diffusers", "ClassifierFreeGuidance"],
        "tokenizer": ["transformers", "TokenizersBackend"],
    }
    files |= {"model_index.json": text(index), "guider/guider_config.json": text({})}
    write(tmp_path / "whole", files)
    assert inspect_folder(tmp_path / "whole").problem is None
    del files["guider/guider_config.json"]
    write(tmp_path / "part", files)
    assert "guider/" in (inspect_folder(tmp_path / "part").problem or "")
