"""torchvision's operators on torch alone, where its own are not for this build of torch: then it does not even import.
`torchvision_import` sees to it that they are there when it does.

PyPI has torchvision for CUDA only, whose operators do not load beside a torch for the CPU. All else of it is Python. Of
its operators here are those that models of the library use; the others raise its own error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import modelyard.worker.runtimes.without_compiler  # noqa: F401 - torchvision would import the compiler
from modelyard.tasks.shared.masks import distinct

PACKAGE = "torchvision"
COMPILER = "torch._dynamo.utils"
"""The part of torch's compiler that torchvision asks."""
DEFINED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
"""What must be known of operators when torchvision is imported, and of those that are here."""


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression: (k,) int64, the boxes to keep, best first, of which no two share more than
    `iou_threshold` of their union.

    `dets`: (n, 4) corners; `scores`: (n,).
    """
    kept = distinct(dets.double().numpy(force=True), scores.double().numpy(force=True), iou_threshold)
    return torch.tensor(kept, dtype=torch.int64, device=dets.device)


def roi_align(
    input: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Each region in a grid of one size: (k, channels, pooled_height, pooled_width).

    `input`: (n, channels, h, w); `rois`: (k, 5), the image's index and corners, which times `spatial_scale` are places
    in it, where `aligned` says that a pixel's centre is at a half. Each bin is the mean of `sampling_ratio` points on
    a side, of as many as it is wide where that is no positive number.
    Source: "Mask R-CNN" (He et al. 2017), section 3; torchvision's description of the parameters.
    """
    found = input.new_empty((len(rois), input.shape[1], pooled_height, pooled_width))
    for at, (image, *corners) in enumerate(rois.tolist()):
        left, top, right, bottom = (corner * spatial_scale - 0.5 * aligned for corner in corners)
        least = 0.0 if aligned else 1.0
        rows = bin_weights(top, max(bottom - top, least), pooled_height, input.shape[2], sampling_ratio)
        columns = bin_weights(left, max(right - left, least), pooled_width, input.shape[3], sampling_ratio)
        found[at] = rows.to(input) @ input[int(image)] @ columns.to(input).T
    return found


def bin_weights(start: float, length: float, bins: int, pixels: int, samples: int) -> torch.Tensor:
    """How much each of so many `pixels` counts in each of so many `bins` of a side: (bins, pixels).

    Points between two pixels count for both, those beside the first and the last one for that, those that are more than
    a pixel away for none.
    """
    if samples <= 0:
        samples = ceil(length / bins)
    if samples == 0:
        return torch.zeros((bins, pixels))
    points = start + (torch.arange(bins * samples) + 0.5) * (length / (bins * samples))
    counts = ((points >= -1) & (points <= pixels)).float()
    points = points.clamp(0, pixels - 1)
    low = points.floor()
    weights = torch.zeros((bins * samples, pixels))
    weights.scatter_add_(1, low.long()[:, None], (counts * (1 - (points - low)))[:, None])
    weights.scatter_add_(1, low.long().add(1).clamp(max=pixels - 1)[:, None], (counts * (points - low))[:, None])
    return weights.reshape(bins, samples, pixels).mean(dim=1)


OPERATORS: dict[str, Callable[..., torch.Tensor]] = {"nms": nms, "roi_align": roi_align}
"""Operator → what computes it here."""
CALLED_IN = {"nms": "boxes", "roi_align": "roi_align"}
"""Operator → the module of torchvision.ops that calls it, once it has asked whether it is there."""
KEPT: list[torch.library.Library] = []
"""What is defined: torch forgets it with its library."""


def define_operators(folder: Path) -> bool:
    """Defines them, unless those in torchvision's `folder` are for this build of torch and load. Whether it did."""
    try:
        torch.ops.load_library(str(next(folder.glob("_C*.so"))))
    except (OSError, StopIteration):
        library = torch.library.Library(PACKAGE, "DEF")
    else:
        return False
    for schema in DEFINED:
        library.define(schema)
    for name, function in OPERATORS.items():
        library.impl(name, function, "CompositeExplicitAutograd")
    KEPT.append(library)
    return True


def use_operators() -> None:
    """Has torchvision, which has been imported, call what is defined here."""
    for name in OPERATORS:
        caller: Any = sys.modules[f"{PACKAGE}.ops.{CALLED_IN[name]}"]
        caller._has_ops, caller._assert_has_ops = lambda: True, lambda: None


@contextmanager
def compiling_nothing() -> Iterator[None]:
    """Whoever asks the compiler in the block whether it may compile something is told no, without importing it."""
    if COMPILER in sys.modules:
        yield
        return
    stand: Any = ModuleType(COMPILER)
    stand.is_compile_supported = lambda _device: False
    sys.modules[COMPILER] = stand
    try:
        yield
    finally:
        del sys.modules[COMPILER]
