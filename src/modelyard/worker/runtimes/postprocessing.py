"""What a processor of the model library makes of a model's outputs. Arrays in and out; the processors read tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from modelyard.worker.runtimes.failures import batch_errors
from modelyard.worker.runtimes.tensors import to_plain, to_tensors


def find_postprocessor(processor: Any, method: str) -> Any:
    """The processor, or the part of it, that has `method`; None when nothing has."""
    parts = (processor, getattr(processor, "image_processor", None))
    return next((part for part in parts if hasattr(part, method)), None)


def postprocess(processor: Any, method: str, outputs: Any, more: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """See `tasks.model.Model.postprocess`. Runs on the CPU."""
    run = getattr(find_postprocessor(processor, method), method)
    given = outputs if isinstance(outputs, Mapping) else {"outputs": outputs}
    takes = inspect.signature(run).parameters
    if all(each.kind is not each.VAR_KEYWORD for each in takes.values()):
        options = {name: value for name, value in options.items() if name in takes}
    with batch_errors(given), torch.inference_mode():
        return to_plain(run(*to_tensors([outputs, *more]), **dict(to_tensors(options))))
