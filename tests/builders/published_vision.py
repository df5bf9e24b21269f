"""Models that see, exported to ONNX in one graph as optimum and transformers.js publish them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForObjectDetection, AutoModelForZeroShotImageClassification


class Graph(NamedTuple):
    """How a family is published. `inputs`: by name, as the graph is traced; `dynamic`: which of their sizes may be
    others."""

    kind: Any
    inputs: dict[str, torch.Tensor]
    dynamic: dict[str, dict[int, str]]
    outputs: tuple[str, ...]


BOXES = ("logits", "pred_boxes")
PIXELS = torch.zeros(2, 3, 64, 64)
GRAPHS = {
    "yolos": Graph(
        AutoModelForObjectDetection, {"pixel_values": torch.zeros(2, 3, 48, 48)}, {"pixel_values": {0: "batch"}}, BOXES
    ),
    "detr": Graph(
        AutoModelForObjectDetection,
        {"pixel_values": PIXELS, "pixel_mask": torch.ones(2, 16, 16, dtype=torch.int64)},
        {"pixel_values": {0: "batch"}, "pixel_mask": {0: "batch"}},
        BOXES,
    ),
    "clip": Graph(
        AutoModelForZeroShotImageClassification,
        {
            "input_ids": torch.full((3, 7), 5),
            "pixel_values": torch.zeros(2, 3, 32, 32),
            "attention_mask": torch.ones(3, 7, dtype=torch.int64),
        },
        {
            "input_ids": {0: "texts", 1: "tokens"},
            "pixel_values": {0: "images"},
            "attention_mask": {0: "texts", 1: "tokens"},
        },
        ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"),
    ),
}


class Pass(torch.nn.Module):  # type: ignore[misc]  # the library is untyped
    """One pass, plain tensors in and out."""

    def __init__(self, model: Any, graph: Graph) -> None:
        super().__init__()
        self.model, self._inputs, self._outputs = model, tuple(graph.inputs), graph.outputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(**dict(zip(self._inputs, tensors, strict=True)), return_dict=True)
        return tuple(found[name] for name in self._outputs)


def publish_vision(family: str, source: Path, target: Path) -> None:
    """Exports the model of `family` in `source` into `target`/onnx, with its other files beside that."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    (target / "onnx").mkdir()
    graph = GRAPHS[family]
    model = graph.kind.from_pretrained(source, attn_implementation="eager").eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pass(model, graph),
            tuple(graph.inputs.values()),
            target / "onnx" / "model.onnx",
            dynamo=False,  # as optimum does, which is also several times quicker
            dynamic_axes=graph.dynamic,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
        )
