"""Our answer in the shape of the library's, and when the two are the same."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tests.coverage.architectures.references import TEXT

TOLERANCE = 1e-3
"""Of numbers, relative to the larger of 1 and the number itself; texts and labels are equal or not."""


def comparable(task: str, output: Any) -> Any:
    """Our answer in the shape of the library's: without the prompt in front, space around a text, masks as files."""
    if task == "text-generation":
        return output.removeprefix(TEXT).strip()
    if task == "image-segmentation":
        return [{"label": row["label"], "pixels": _pixels(row["mask_png"])} for row in output]
    if task == "depth-estimation":
        return output["formatted_predicted_depth_array"]
    if isinstance(output, dict) and "content" in output:
        output = output["content"]
    if isinstance(output, dict) and "text" in output:
        output = output["text"]
    return output.strip() if isinstance(output, str) else output


def _pixels(mask_png: str) -> float:
    return float((np.asarray(Image.open(io.BytesIO(base64.b64decode(mask_png)))) > 0).sum())


def find_difference(ours: Any, theirs: Any, where: str = "") -> str:
    """Where two answers differ first; empty when they are the same. Ours may have more fields than asked for."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs = [(ours.get(name), value, f"{where}.{name}") for name, value in theirs.items()]
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{where or 'the answer'} has {len(ours)} items, the library's {len(theirs)}"
        pairs = [(one, other, f"{where}[{place}]") for place, (one, other) in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(theirs, float) and isinstance(ours, int | float):
        same = abs(ours - theirs) <= TOLERANCE * max(1.0, abs(theirs)) or (ours != ours and theirs != theirs)
        return "" if same else f"{where or 'the answer'} is {ours:.6g}, the library's {theirs:.6g}"
    else:
        return "" if ours == theirs else f"{where or 'the answer'} is {ours!r:.60}, the library's {theirs!r:.60}"
    return next((found for one, other, place in pairs if (found := find_difference(one, other, place))), "")
