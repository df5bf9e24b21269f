"""Masks: which pixels of an image belong to one thing. Encoding, boxes around them, and dropping repeated ones."""

from __future__ import annotations

import base64

import numpy as np

from modelyard.media.encode import encode_png
from modelyard.tasks.model import Array


def to_png(mask: Array) -> str:
    """A mask, (h, w) bool, as a PNG in base64: white where the thing is."""
    return base64.b64encode(encode_png(mask)).decode()


def stability(logits: Array, threshold: float, offset: float) -> Array:
    """How little each mask changes when its threshold does: (masks,) shares from (masks, h, w); nan for no mask at all.

    Source: the paper "Segment Anything", appendix B.
    """
    inner = (logits > threshold + offset).sum(axis=(1, 2))
    outer = (logits > threshold - offset).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Array = inner / outer
    return share


def boxes_around(masks: Array) -> Array:
    """The first and last pixel of each mask: (masks, 4) as xmin, ymin, xmax, ymax; zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), dtype=np.float64)
    for index, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            boxes[index] = columns[0], rows[0], columns[-1], rows[-1]
    return boxes


def distinct(boxes: Array, scores: Array, most_overlap: float) -> list[int]:
    """Non-maximum suppression: the indices to keep, best first, so that no two boxes share more than `most_overlap`.

    `boxes`: (n, 4) corners; overlap is intersection over union.
    """
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        order = order[shared <= most_overlap * (areas[best] + areas[order] - shared)]
    return kept
