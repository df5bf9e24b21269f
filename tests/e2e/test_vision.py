"""Models that see with torchvision or timm, over HTTP as by the library called directly; the operators of torchvision
beside its own. `make verify-vision` installs both beside the environment.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.processors import prefer_pillow
from tests.builders import build
from tests.builders.pictures import picture, to_base64
from tests.coverage import architectures
from tests.coverage.architectures import asking, building
from tests.coverage.architectures.comparison import comparable, find_difference
from tests.coverage.architectures.configs import small_config
from tests.coverage.cases import Case
from tests.serving import Server

pytestmark = [pytest.mark.verify(part="vision"), pytest.mark.filterwarnings("ignore")]

CASES = (
    "chmv2/CHMv2ForDepthEstimation",
    "depth_pro/DepthProForDepthEstimation",
    "dinov3_convnext/DINOv3ConvNextModel",
    "dinov3_vit/DINOv3ViTModel",
    "edgetam/EdgeTamModel",
    "eomt/EomtForUniversalSegmentation",
    "eomt_dinov3/EomtDinov3ForUniversalSegmentation",
    "fast_vlm/FastVlmForConditionalGeneration",
    "gemma3n/Gemma3nForConditionalGeneration",
    "oneformer/OneFormerForUniversalSegmentation",
    "perception_lm/PerceptionLMForConditionalGeneration",
    "pix2struct/Pix2StructForConditionalGeneration",
    "pp_doclayout_v2/PPDocLayoutV2ForObjectDetection",
    "pp_formulanet/PPFormulaNetForConditionalGeneration",
    "pp_lcnet/PPLCNetForImageClassification",
    "rf_detr/RfDetrForInstanceSegmentation",
    "rf_detr/RfDetrForObjectDetection",
    "sam2/Sam2Model",
    "sam3/Sam3Model",
    "sam3_lite_text/Sam3LiteTextModel",
    "sam3_tracker/Sam3TrackerModel",
    "timm_wrapper/TimmWrapperForImageClassification",
    "timm_wrapper/TimmWrapperModel",
    "tipsv2_dpt/Tipsv2DptForDepthEstimation",
    "videoprism_vision_model/VideoPrismForVideoClassification",
    "vivit/VivitForVideoClassification",
    "vjepa2/VJEPA2ForVideoClassification",
    "zoedepth/ZoeDepthForDepthEstimation",
)
"""Families, each with a class of it, made as `make coverage` makes them."""


ANIMALS = ["cat", "dog", "fox", "hen", "owl"]
PREPARED = {
    "input_size": [3, 64, 64],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.3, 0.2, 0.1],
}
"""How timm is told to prepare images."""


@dataclass(frozen=True)
class Made:
    """A tiny model in a folder. `expected`: what the library called directly answers to `body`."""

    model_id: str
    task: str
    body: dict[str, Any]
    expected: Any


def make(case: Case, models: Path) -> Made:
    """The smallest one that the library answers with."""
    model_id = f"{case.family}/{case.name}"
    task, expected = architectures.build_answered(case, models / model_id)
    ours = load_model("transformers", models / model_id, get_task(task).heads, device="cpu")
    return Made(model_id, task, asking.make_body(get_task(task), ours), expected)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder, with the models in it that are not of the instrument."""
    prefer_pillow()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    make_timm(folder / "timm" / "classifier", "test_resnet", num_classes=len(ANIMALS), label_names=ANIMALS)
    make_timm(folder / "timm" / "encoder", "test_vit", num_classes=0, model_args={"img_size": 64})
    make_published_detr(folder / "facebook" / "detr")
    build("eomt", folder / "tue-mps" / "eomt")
    build("eomt_semantic", folder / "tue-mps" / "eomt-semantic")
    return folder


def make_timm(folder: Path, architecture: str, **config: Any) -> None:
    """A repository as timm's are on the hub: two files."""
    import timm
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    model = timm.create_model(architecture, num_classes=config["num_classes"], **config.get("model_args", {}))
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    config |= {"architecture": architecture, "num_features": model.num_features, "pretrained_cfg": PREPARED}
    (folder / "config.json").write_text(json.dumps(config))


def load_timm(folder: Path) -> tuple[Any, Any]:
    """The model of such a repository in timm itself, and what prepares an image for it."""
    import timm
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    arguments = {"num_classes": config["num_classes"], **config.get("model_args", {})}
    model = timm.create_model(config["architecture"], **arguments).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    settings = timm.data.resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"])
    return model, timm.data.create_transform(**settings, is_training=False)


def make_published_detr(folder: Path) -> None:
    """DETR as it is published, on a ResNet of timm's that was trained before it."""
    import transformers

    config = transformers.DetrConfig(
        use_timm_backbone=True,
        use_pretrained_backbone=False,
        backbone="resnet18",
        backbone_config=None,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=8,
        num_labels=3,
    )
    transformers.DetrForObjectDetection(config).save_pretrained(folder)
    transformers.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def make_published_sam3(folder: Path, concepts: Path) -> None:
    """SAM 3 as it is published: what finds things by their names, of which there is one in the folder `concepts`, with
    the processor and the tokenizer there, beside what outlines what is pointed at."""
    import transformers
    from safetensors.torch import load_file, save_file

    detector = transformers.Sam3Config.from_pretrained(concepts)
    tracker = small_config("sam3_tracker_video", transformers.Sam3TrackerVideoModel, "all")
    tracker.vision_config = detector.vision_config
    torch.manual_seed(0)
    config = transformers.Sam3VideoConfig(detector_config=detector, tracker_config=tracker)
    shutil.copytree(concepts, folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    building.spread(transformers.Sam3VideoModel(config)).save_pretrained(folder)
    file = folder / "model.safetensors"
    weights = {
        name.replace("tracker_model.tracker_model", "tracker_model"): part for name, part in load_file(file).items()
    }
    save_file(weights, file, {"format": "pt"})  # the library writes that name twice, as no published one has it


@pytest.fixture(scope="module")
def sam3(made: Callable[[str], Made], models: Path) -> Path:
    """The folder of facebook/sam3."""
    make_published_sam3(models / "facebook" / "sam3", models / made("sam3/Sam3Model").model_id)
    return models / "facebook" / "sam3"


@pytest.fixture(scope="module")
def made(models: Path) -> Callable[[str], Made]:
    """Makes one of CASES, once."""
    architectures.preload()
    cases = {f"{case.family}/{case.name}": case for case in architectures.list_cases()}
    return cache(lambda name: make(cases[name], models))


@pytest.fixture(scope="module")
def seeing(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), models, "--sandbox", "strict") as server:
        yield server


@pytest.mark.parametrize("name", CASES)
def test_a_family_answers_over_http_as_the_library_called_directly(
    name: str, made: Callable[[str], Made], seeing: Server
) -> None:
    each = made(name)
    answer = comparable(each.task, seeing.run(each.model_id, **each.body))
    assert not find_difference(answer, each.expected)


def test_a_repository_of_timms_own_answers_as_the_library_called_directly(models: Path, seeing: Server) -> None:
    image = picture()
    classifier, prepare = load_timm(models / "timm" / "classifier")
    with torch.inference_mode():
        scores = classifier(prepare(image)[None])[0].softmax(0)
    answer = seeing.run("timm/classifier", base64=to_base64(image))
    expected = dict(zip(ANIMALS, scores.tolist(), strict=True))
    assert {each["label"]: each["score"] for each in answer} == pytest.approx(expected, abs=1e-5)

    encoder, prepare = load_timm(models / "timm" / "encoder")
    with torch.inference_mode():
        features = encoder.forward_features(prepare(image)[None])[0]
    answer = seeing.run("timm/encoder", base64=to_base64(image))
    assert np.allclose(answer, features, atol=1e-4)


def test_detr_as_it_is_published_finds_what_the_library_finds(models: Path, seeing: Server) -> None:
    import transformers

    image = picture()
    pipeline = transformers.pipeline("object-detection", model=str(models / "facebook" / "detr"))
    expected = pipeline(image, threshold=0.2)
    answer = seeing.run("facebook/detr", base64=to_base64(image), params={"threshold": 0.2})
    assert expected
    assert [(each["label"], each["box"]) for each in answer] == [(each["label"], each["box"]) for each in expected]
    assert [each["score"] for each in answer] == pytest.approx([each["score"] for each in expected], abs=1e-5)


def masks_in(answer: dict[str, Any]) -> list[Any]:
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(mask)))) > 0 for mask in answer["masks"]]


def test_sam3_as_it_is_published_outlines_what_a_text_names_and_what_is_pointed_at(sam3: Path, seeing: Server) -> None:
    import transformers

    image = picture((41, 73))
    processor = transformers.Sam3Processor.from_pretrained(sam3)
    encoded = processor(images=image, text="yellow bus", return_tensors="pt")
    with torch.inference_mode():
        named = transformers.Sam3Model.from_pretrained(sam3).eval()(**encoded)
    (found,) = processor.post_process_instance_segmentation(named, threshold=0.1, target_sizes=[(73, 41)])
    order = found["scores"].argsort(descending=True, stable=True)
    answer = seeing.run("facebook/sam3", text="yellow bus", base64=to_base64(image), params={"threshold": 0.1})
    assert len(order) > 0
    assert answer["scores"] == pytest.approx(found["scores"][order].tolist(), abs=1e-5)
    assert (np.array(masks_in(answer)) != (found["masks"][order] > 0).numpy()).mean() < 1e-3

    processor = transformers.Sam3TrackerProcessor(transformers.AutoImageProcessor.from_pretrained(sam3))
    encoded = processor(images=image, input_points=[[[[20.0, 30.0]]]], return_tensors="pt")
    encoded["input_points"] = encoded["input_points"].float()
    tracker = transformers.Sam3TrackerModel.from_pretrained(sam3).eval()
    with torch.inference_mode():
        pointed = tracker(**{name: encoded[name] for name in ("pixel_values", "input_points")})
    (masks,) = processor.post_process_masks(pointed.pred_masks, encoded["original_sizes"])
    answer = seeing.run("facebook/sam3", base64=to_base64(image), params={"input_points": [[20, 30]]})
    assert answer["scores"] == pytest.approx(pointed.iou_scores.flatten().tolist(), abs=1e-5)
    assert (np.array(masks_in(answer)) != masks.numpy()[0]).mean() < 1e-3


def test_what_is_told_by_a_text_alone_says_so(made: Callable[[str], Made], sam3: Path, seeing: Server) -> None:
    asked = {"base64": to_base64(picture()), "params": {"input_points": [[20, 30]]}}
    missing = seeing.post(made("sam3/Sam3Model").model_id, **asked)
    assert missing.status_code == 422
    assert missing.json()["error"].startswith("text: missing; accepted: what to outline")
    both = seeing.post("facebook/sam3", text="yellow bus", **asked)
    assert both.status_code == 422
    assert both.json()["error"] == "params.input_points: got [[20, 30]]; accepted: none beside a text"


@pytest.mark.parametrize(
    ("name", "subtask"), [("eomt", "instance"), ("eomt", "panoptic"), ("eomt-semantic", "semantic")]
)
def test_eomt_tells_apart_what_it_is_asked_to(name: str, subtask: str, models: Path, seeing: Server) -> None:
    import transformers

    folder, image = models / "tue-mps" / name, picture((41, 73))
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.EomtForUniversalSegmentation.from_pretrained(folder).eval()
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    settings = {} if subtask == "semantic" else {"threshold": 0.05}
    (found,) = getattr(processor, f"post_process_{subtask}_segmentation")(outputs, [(73, 41)], **settings)
    if subtask == "semantic":
        expected = {(model.config.id2label[label], int((found == label).sum())) for label in found.unique().tolist()}
    else:
        expected = {
            (model.config.id2label[part["label_id"]], int((found["segmentation"] == part["id"]).sum()))
            for part in found["segments_info"]
        }
    params = {"subtask": subtask, **settings}
    answer = comparable("image-segmentation", seeing.run(f"tue-mps/{name}", base64=to_base64(image), params=params))
    assert expected
    assert {(row["label"], row["pixels"]) for row in answer} == expected


def test_masks_of_everything_are_told_in_the_images_size(made: Callable[[str], Made], seeing: Server) -> None:
    image = picture((41, 73))
    params = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "mask_threshold": -1.0}
    answer = seeing.run(made("sam2/Sam2Model").model_id, base64=to_base64(image), params=params)
    assert answer["masks"]
    assert {mask.shape for mask in masks_in(answer)} == {(73, 41)}


def test_the_operators_are_torchvisions_where_its_own_do_not_load() -> None:
    import torchvision

    draw = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 12, 16, generator=draw)
    corners = torch.rand(6, 2, generator=draw) * 8
    boxes = torch.cat([corners, corners + 1 + torch.rand(6, 2, generator=draw) * 6], dim=1)
    rois = torch.cat([torch.randint(0, 2, (6, 1), generator=draw).float(), boxes], dim=1)
    own = torchvision.ops.roi_align.__globals__["_roi_align"].__wrapped__
    for samples in (2, -1):
        for aligned in (False, True):
            ours = torchvision.ops.roi_align(image, rois, (3, 4), 0.9, samples, aligned)
            assert torch.allclose(ours, own(image, rois, 0.9, 3, 4, samples, aligned), atol=1e-5)
    kept = torchvision.ops.batched_nms(boxes, torch.rand(6, generator=draw), torch.tensor([0, 0, 0, 1, 1, 1]), 0.3)
    assert 0 < len(kept) <= 6
