"""How much memory a model will need, before it has ever been loaded. Pure; a measurement replaces it later."""

from __future__ import annotations

from modelyard.config import CONTEXT_TOKENS
from modelyard.records.models import Inspection

MIB = 1024**2

WORKER_BASE_BYTES = 60 * MIB
"""A worker forked from the nursery, before it loads anything: 50-57 MB measured, the rest of its pages are shared."""

WORKING_FRACTION = 0.10
"""Activations and key/value cache of a modest batch, relative to the loaded weights."""

WORKING_FLOOR_BYTES = 32 * MIB
"""What the first forward pass of even a tiny model allocates: thread stacks, buffers of the math library."""

UNKNOWN_WEIGHT_BYTES = 512 * MIB
"""Assumed when the files do not tell, so that placement never takes an unknown model for a free one."""

BF16_BYTES = 2
"""Of one weight, where the operator wants 16 bits."""

CPU_GROWTH = {"F16": 2, "BF16": 2, "F8_E4M3": 4, "F8_E5M2": 4}
"""CPUs compute in float32: narrower weights grow as they are loaded."""


def estimate_memory_bytes(weight_bytes: int | None, dtype: str | None) -> int:
    """Peak memory of one replica on a CPU, in bytes: a forked worker, its weights as loaded, and room to compute.

    `weight_bytes`: as stored, None when unknown; `dtype`: of most weights, in safetensors' names.
    """
    stored = UNKNOWN_WEIGHT_BYTES if weight_bytes is None else weight_bytes
    loaded = stored * CPU_GROWTH.get(dtype or "", 1)
    return WORKER_BASE_BYTES + loaded + max(WORKING_FLOOR_BYTES, int(loaded * WORKING_FRACTION))


def plan_bf16_bytes(inspection: Inspection) -> int | None:
    """What a model's weights take in 16 bits each, at the most; None when their count is not known. Those that files
    have in another type are held in both while they are loaded."""
    if inspection.parameters is None:
        return None
    files_bytes = 0 if inspection.dtype == "BF16" else inspection.weight_bytes or 0
    return BF16_BYTES * inspection.parameters + files_bytes


def plan_context(max_length: int | None, context_tokens: int) -> int:
    """How many tokens of prompt and answer a model keeps whose runtime sets memory aside for them.

    `max_length`: its own context, None when its files do not tell; `context_tokens`: as the setting says.
    """
    own = max_length or context_tokens or CONTEXT_TOKENS
    return min(own, context_tokens or own)


def estimate_model_bytes(inspection: Inspection) -> int:
    """`estimate_memory_bytes` for a model, with what its runtime sets aside when it loads it."""
    if inspection.loaded_bytes is not None:
        return estimate_memory_bytes(inspection.loaded_bytes, None)
    if not inspection.keeps_context:
        return estimate_memory_bytes(inspection.weight_bytes, inspection.dtype)
    context_bytes = inspection.token_bytes * (inspection.max_length or 0)
    return estimate_memory_bytes(inspection.weight_bytes, None) + context_bytes
