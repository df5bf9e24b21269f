"""Detectors that others have exported to ONNX. Boxes are made of their outputs by the model library, on torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.tasks.model import Array
from modelyard.worker.runtimes.onnx_published import PublishedOnnxModel, load_one_pass
from modelyard.worker.runtimes.postprocessing import find_postprocessor, postprocess

PIXEL_MASK = "pixel_mask"
"""Which pixels are no padding, (rows, height, width). Graphs of DETR have it at one size, whatever the image's: the
model looks at it in a few places only."""


def load_published_detector(folder: Path, file: Path) -> PublishedOnnxModel:
    """The detector in `file`. Raises ModelRefused, and what the libraries raise."""
    return load_one_pass(folder, file, "object-detection", None, Detector)


class Detector(PublishedOnnxModel):
    """One graph that finds objects; see `tasks.model.Model`."""

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`."""
        size = self._session.shapes.get(PIXEL_MASK, ())[1:]
        if PIXEL_MASK in inputs and size and all(isinstance(side, int) for side in size):
            inputs = {**inputs, PIXEL_MASK: sample(inputs[PIXEL_MASK], *size)}  # type: ignore[arg-type]
        return super().forward(inputs, method=method, **settings)

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """See `tasks.model.Model.postprocess`."""
        return postprocess(self.processor, method, outputs, more, options)

    def can_postprocess(self, method: str) -> bool:
        """See `tasks.model.Model.can_postprocess`."""
        return find_postprocessor(self.processor, method) is not None


def sample(mask: Array, height: int, width: int) -> Array:
    """The mask at another size, each place by the one nearest to it."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), mask.shape[1:], strict=True))
    return mask[:, rows][:, :, columns]
