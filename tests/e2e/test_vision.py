"""Models that see with torchvision or timm, over HTTP as by the library called directly; the operators of torchvision
beside its own. `make verify-vision` installs both beside the environment.
"""

from __future__ import annotations

import base64
import io
import json
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
from tests.builders.pictures import picture, to_base64
from tests.coverage import architectures
from tests.coverage.architectures import asking, building, references
from tests.coverage.architectures.comparison import comparable, find_difference
from tests.coverage.architectures.configs import LEVELS
from tests.coverage.cases import Case
from tests.serving import Server

pytestmark = [pytest.mark.verify(part="vision"), pytest.mark.filterwarnings("ignore")]

CASES = (
    "dinov3_convnext/DINOv3ConvNextModel",
    "dinov3_vit/DINOv3ViTModel",
    "eomt/EomtForUniversalSegmentation",
    "eomt_dinov3/EomtDinov3ForUniversalSegmentation",
    "oneformer/OneFormerForUniversalSegmentation",
    "pix2struct/Pix2StructForConditionalGeneration",
    "rf_detr/RfDetrForInstanceSegmentation",
    "rf_detr/RfDetrForObjectDetection",
    "sam2/Sam2Model",
    "sam3_tracker/Sam3TrackerModel",
    "timm_wrapper/TimmWrapperForImageClassification",
    "timm_wrapper/TimmWrapperModel",
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
    failures = []
    for level in LEVELS:
        folder = models / case.family / f"{case.name}-{level}"
        try:
            model = building.build(case, folder, level)
            task = references.find_task(case.head, model, folder)
            assert task is not None
            expected = references.answer(task, type(model), folder)
        except Exception as error:  # the library raises anything for numbers that do not fit together
            failures.append(error)
            continue
        ours = load_model("transformers", folder, get_task(task).heads, device="cpu")
        body = asking.make_body(get_task(task), ours)
        return Made(f"{case.family}/{folder.name}", task, body, expected)
    raise ExceptionGroup(f"{case.id} is not built", failures)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder, with the models in it that are not of the instrument."""
    prefer_pillow()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    make_timm(folder / "timm" / "classifier", "test_resnet", num_classes=len(ANIMALS), label_names=ANIMALS)
    make_timm(folder / "timm" / "encoder", "test_vit", num_classes=0, model_args={"img_size": 64})
    make_published_detr(folder / "facebook" / "detr")
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


def test_masks_of_everything_are_told_in_the_images_size(made: Callable[[str], Made], seeing: Server) -> None:
    image = picture((41, 73))
    params = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "mask_threshold": -1.0}
    answer = seeing.run(made("sam2/Sam2Model").model_id, base64=to_base64(image), params=params)
    masks = [Image.open(io.BytesIO(base64.b64decode(mask))) for mask in answer["masks"]]
    assert masks
    assert {mask.size for mask in masks} == {(41, 73)}


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
