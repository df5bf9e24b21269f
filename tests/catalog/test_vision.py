"""Models that see with timm or torchvision: which are refused where those are not installed, and what they serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog import vision
from modelyard.catalog.inspection import inspect_folder
from modelyard.records.models import Inspection
from tests.catalog.models import model, text, write

COMMAND = "run `pip install 'modelyard[vision]'` where the server is installed and start it again"
TIMM = f"wants the library timm, which is not installed here; {COMMAND}"
TORCHVISION = f"wants the library torchvision, which is not installed here; {COMMAND}"
NAMED_BY_TIMM = {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 224, 224]}, "num_features": 512}


def inspected(tmp_path: Path, files: dict[str, bytes]) -> Inspection:
    return inspect_folder(write(tmp_path / "model", files))


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is installed, whatever this environment has."""
    monkeypatch.setattr(vision, "INSTALLED", frozenset())


@pytest.mark.parametrize(
    "config",
    [
        {"use_timm_backbone": True, "backbone": "resnet50"},
        {"backbone_config": {"model_type": "timm_backbone"}},
        {"vision_config": {"backbone_config": {"model_type": "timm_wrapper"}}},
    ],
)
def test_a_part_of_timm_wants_it_however_deep(tmp_path: Path, config: dict[str, object]) -> None:
    assert inspected(tmp_path, model("DetrForObjectDetection", "detr", config=config)).problem == TIMM


@pytest.mark.parametrize(("labels", "task"), [(1000, "image-classification"), (0, "image-feature-extraction")])
def test_timms_own_repositories_are_models_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: int, task: str
) -> None:
    files = {**model(), "config.json": text({**NAMED_BY_TIMM, "num_classes": labels})}
    assert inspected(tmp_path, files).problem == TIMM
    monkeypatch.setattr(vision, "INSTALLED", frozenset({"timm", "torchvision"}))
    found = inspected(tmp_path, files)
    assert (found.problem, found.task) == (None, task)


def test_images_that_only_torchvision_reads_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = model("Sam2Model", "sam2")
    assert inspected(tmp_path, files).problem == TORCHVISION
    monkeypatch.setattr(vision, "INSTALLED", frozenset({"torchvision"}))
    assert inspected(tmp_path, files).problem is None


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "CLIPImageProcessorFast"])
def test_a_folder_that_names_another_reader_wants_nothing(tmp_path: Path, name: str) -> None:
    files = model("DINOv3ViTModel", "dinov3_vit", config={"num_channels": 3})
    assert inspected(tmp_path, files).problem == TORCHVISION
    for file, said in {
        "preprocessor_config.json": {"image_processor_type": name},
        "processor_config.json": {"image_processor": {"image_processor_type": name}},
    }.items():
        assert inspected(tmp_path, {**files, file: text(said)}).problem is None
        (tmp_path / "model" / file).unlink()


def test_videos_alone_want_torchvision(tmp_path: Path) -> None:
    files = model("VJEPA2ForVideoClassification", "vjepa2")
    videos = {**files, "video_preprocessor_config.json": text({})}
    assert inspected(tmp_path, videos).problem == TORCHVISION
    assert inspected(tmp_path, {**videos, "preprocessor_config.json": text({})}).problem is None


def test_a_model_that_is_asked_for_texts_wants_nothing(tmp_path: Path) -> None:
    assert inspected(tmp_path, model("UltraVBertForMaskedLM", "ultravbert")).problem is None


FAMILIES = [
    ("CHMv2ForDepthEstimation", "chmv2", "depth-estimation"),
    ("DINOv3ViTModel", "dinov3_vit", "image-feature-extraction"),
    ("DepthProForDepthEstimation", "depth_pro", "depth-estimation"),
    ("PPDocLayoutV2ForObjectDetection", "pp_doclayout_v2", "object-detection"),
    ("PPFormulaNetForConditionalGeneration", "pp_formulanet", "image-to-text"),
    ("RfDetrForInstanceSegmentation", "rf_detr", "image-segmentation"),
    ("RfDetrForObjectDetection", "rf_detr", "object-detection"),
    ("Sam2Model", "sam2", "mask-generation"),
    ("Sam3LiteTextModel", "sam3_lite_text", "mask-generation"),
    ("Sam3Model", "sam3", "mask-generation"),
    ("Sam3TrackerModel", "sam3_tracker", "mask-generation"),
    ("Sam3VideoModel", "sam3_video", "mask-generation"),
    ("Tipsv2DptForDepthEstimation", "tipsv2_dpt", "depth-estimation"),
    ("VJEPA2ForVideoClassification", "vjepa2", "video-classification"),
    ("VideoPrismForVideoClassification", "videoprism_vision_model", "video-classification"),
    ("VivitForVideoClassification", "vivit", "video-classification"),
]
"""Class, type and task of models whose images or videos torchvision alone reads."""


@pytest.mark.parametrize(("architecture", "kind", "task"), FAMILIES)
def test_a_family_is_for_its_task_and_refused_without_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str, task: str
) -> None:
    reads = "video_preprocessor_config.json" if task == "video-classification" else "preprocessor_config.json"
    files = {**model(architecture, kind, config={"vision_config": {}, "image_size": 64}), reads: text({})}
    assert inspected(tmp_path, files).problem == TORCHVISION
    monkeypatch.setattr(vision, "INSTALLED", frozenset({"timm", "torchvision"}))
    found = inspected(tmp_path, files)
    assert (found.problem, found.task) == (None, task)


EYES_OF_TIMM = [
    ("EdgeTamModel", "edgetam", {"backbone_config": {"model_type": "timm_wrapper"}}, "mask-generation"),
    ("FastVlmForConditionalGeneration", "fast_vlm", {"model_type": "timm_wrapper"}, "image-text-to-text"),
    ("Gemma3nForConditionalGeneration", "gemma3n", {"model_type": "gemma3n_vision"}, "image-text-to-text"),
    ("PerceptionLMForConditionalGeneration", "perception_lm", {"model_type": "timm_wrapper"}, "image-text-to-text"),
]
"""Class, type, config of the eyes, and task."""


@pytest.mark.parametrize(("architecture", "kind", "eyes", "task"), EYES_OF_TIMM)
def test_a_family_with_eyes_of_timm_is_for_its_task_and_refused_without_timm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str, eyes: dict[str, object], task: str
) -> None:
    files = model(architecture, kind, config={"vision_config": eyes})
    assert inspected(tmp_path, files).problem == TIMM
    monkeypatch.setattr(vision, "INSTALLED", frozenset({"timm", "torchvision"}))
    found = inspected(tmp_path, files)
    assert (found.problem, found.task) == (None, task)


def test_a_reader_that_the_folder_names_wants_torchvision_where_the_type_has_none(tmp_path: Path) -> None:
    files = model("DINOv3ConvNextModel", "dinov3_convnext", config={"num_channels": 3})
    assert inspected(tmp_path, files).problem is None
    named = {"preprocessor_config.json": text({"image_processor_type": "DINOv3ViTImageProcessorFast"})}
    found = inspected(tmp_path, {**files, **named})
    assert (found.problem, found.task) == (TORCHVISION, "image-feature-extraction")


@pytest.mark.parametrize("kind", ["vit", "qwen2_vl", "detr", "idefics3"])
def test_what_pillow_reads_wants_nothing(tmp_path: Path, kind: str) -> None:
    files = model("ViTForImageClassification", kind)
    assert inspected(tmp_path, files).problem is None
