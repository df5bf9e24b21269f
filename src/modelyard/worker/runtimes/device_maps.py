"""Which layers of a model lie on which of several accelerators, planned from its shape, before a weight is read."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import infer_auto_device_map, init_empty_weights

from modelyard.errors import ModelRefused
from modelyard.units import gigabytes
from modelyard.worker.runtimes.device import Spread

STEPS = [1.0 + step / 20 for step in range(20)]
"""Parts of the weights that are tried for each device, relative to an equal one: layers are not cut."""


def plan_device_map(kind: Any, config: Any, spread: Spread, dtype: torch.dtype) -> dict[str, int]:
    """The number of the device of each part of a model of class `kind`, one after the other, in parts as equal as its
    layers allow. Raises ModelRefused where they do not fit."""
    with init_empty_weights():
        model = kind(config)
    model.tie_weights()
    weight_bytes = sum(each.numel() for each in model.parameters()) * dtype.itemsize
    parts = (int(step * weight_bytes / spread.count) for step in STEPS)
    for part_bytes in [*(each for each in parts if each < spread.weight_bytes), spread.weight_bytes]:
        found = infer_auto_device_map(
            model,
            max_memory=dict.fromkeys(range(spread.count), part_bytes),
            no_split_module_classes=sorted(model._no_split_modules or ()),
            dtype=dtype,
        )
        if all(isinstance(device, int) for device in found.values()):  # else some are left for memory or disk
            return {name: int(device) for name, device in found.items()}
    raise ModelRefused(
        f"Its weights of {gigabytes(weight_bytes)} cannot be laid on {spread.count} accelerators of which each has "
        f"{gigabytes(spread.weight_bytes)} for them: its layers cannot be cut. Have larger ones reserved for it."
    )
