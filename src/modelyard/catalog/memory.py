"""How much memory a model will need, before it has ever been loaded. Pure; a measurement replaces it later.

A replica holds most either while it loads, when weights lie there both as they are stored and as they are computed
with, or while it computes a batch. The plan is the larger of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.config import CONTEXT_TOKENS
from modelyard.records.models import Inspection
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES

MIB = 1024**2

WORKER_BASE_BYTES = 60 * MIB
"""A worker forked from the nursery, before it loads anything: 50-57 MB measured, the rest of its pages are shared."""

LOADING_BYTES = 16 * MIB
"""What else is there while weights are loaded: a tokenizer of 50,000 words, the code that reads them."""

WORKING_FRACTION = 0.10
"""What computing one request takes, relative to the weights in 32 bits, in which it is computed."""

WORKING_FLOOR_BYTES = 32 * MIB
"""What the first forward pass of even a tiny model allocates: thread stacks, buffers of the math library."""

UNKNOWN_WEIGHT_BYTES = 512 * MIB
"""Assumed when the files do not tell, so that placement never takes an unknown model for a free one."""

FLOAT_BYTES = 4
BF16_BYTES = 2
"""Of one weight, where the operator wants 16 bits."""

CPU_GROWTH = {"F16": 2, "BF16": 2, "F8_E4M3": 4, "F8_E5M2": 4}
"""CPUs compute in float32: narrower weights grow as they are loaded."""

BATCH_ROWS = 4
"""As many requests at once as benchmarks find worth it on CPUs, of models that do gain by batches."""

BATCH_TOKENS = 576
"""Of each: what benchmarks ask for at most, see tasks.shared.sizes."""

HIDDEN_COPIES = 17
"""So many times its hidden state a token takes while it is read. Measured in batches of 4 and 32: all-MiniLM-L6-v2 16
to 17, SmolLM2-135M less."""

CACHE_COPIES = 2
"""Keys and values are held twice while they grow by a token."""

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")


def estimate_memory_bytes(weight_bytes: int | None, dtype: str | None) -> int:
    """`estimate_model_bytes` of weights of which no more is known.

    `weight_bytes`: as stored, None when unknown; `dtype`: of most weights, in safetensors' names.
    """
    return estimate_model_bytes(Inspection(weight_bytes=weight_bytes, dtype=dtype))


def estimate_model_bytes(inspection: Inspection) -> int:
    """Peak memory of one replica on a CPU, in bytes: a forked worker, its weights as loaded, and what it takes to load
    them or, where that is more, to compute a batch."""
    if inspection.keeps_context:
        loaded, read = inspection.weight_bytes or UNKNOWN_WEIGHT_BYTES, 0
        context_bytes = inspection.token_bytes * (inspection.max_length or 0)
    else:
        loaded, read, context_bytes = plan_loaded_bytes(inspection), _read_bytes(inspection), inspection.batch_bytes
    wide_bytes = max(loaded, FLOAT_BYTES * (inspection.parameters or 0))
    computing = max(WORKING_FLOOR_BYTES, int(wide_bytes * WORKING_FRACTION)) + context_bytes
    return WORKER_BASE_BYTES + loaded + max(read + LOADING_BYTES, computing)


def plan_device_bytes(inspection: Inspection) -> int:
    """Peak memory of one replica on an accelerator, in bytes: what its driver holds for the process, the weights in the
    type that they are stored in, and what it takes to compute a batch."""
    stored = UNKNOWN_WEIGHT_BYTES if inspection.weight_bytes is None else inspection.weight_bytes
    if inspection.precision is not None and inspection.loaded_bytes is not None:
        stored = inspection.loaded_bytes
    computing = max(WORKING_FLOOR_BYTES, int(stored * WORKING_FRACTION)) + inspection.batch_bytes
    return DEVICE_CONTEXT_BYTES + stored + computing


def plan_loaded_bytes(inspection: Inspection) -> int:
    """What the weights take once they are loaded."""
    if inspection.loaded_bytes is not None:
        return inspection.loaded_bytes
    stored = UNKNOWN_WEIGHT_BYTES if inspection.weight_bytes is None else inspection.weight_bytes
    return stored * CPU_GROWTH.get(inspection.dtype or "", 1)


def _read_bytes(inspection: Inspection) -> int:
    """What of the files is held beside the loaded weights while others are made of them."""
    stored = inspection.weight_bytes or 0
    if inspection.precision is not None:
        return 0 if inspection.dtype == "BF16" else stored
    return stored if plan_loaded_bytes(inspection) > stored else 0


def plan_bf16_bytes(inspection: Inspection) -> int | None:
    """What a model's weights take in 16 bits each; None when their count is not known."""
    return None if inspection.parameters is None else BF16_BYTES * inspection.parameters


def plan_batch_bytes(config: Mapping[str, Any], max_length: int | None, *, generates: bool) -> int:
    """What a batch of long texts takes while a model with this config computes it; 0 where it tells no sizes.

    `max_length`: the longest text in tokens. `generates`: keys and values of all its tokens are kept.
    """
    text = config.get("text_config")
    sizes = {**config, **text} if isinstance(text, dict) else config
    hidden = _find(sizes, _HIDDEN)
    floats = HIDDEN_COPIES * hidden
    if generates:
        heads = _find(sizes, _HEADS) or 1
        width = _find(sizes, ("head_dim",)) or hidden // heads
        kept = _find(sizes, ("num_key_value_heads",)) or heads
        floats += CACHE_COPIES * 2 * _find(sizes, _LAYERS) * kept * width
    return BATCH_ROWS * min(max_length or BATCH_TOKENS, BATCH_TOKENS) * floats * FLOAT_BYTES


def _find(sizes: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first of these that is told; 0 where none is."""
    return next((value for name in names if isinstance(value := sizes.get(name), int) and value > 0), 0)


def plan_context(max_length: int | None, context_tokens: int) -> int:
    """How many tokens of prompt and answer a model keeps whose runtime sets memory aside for them.

    `max_length`: its own context, None when its files do not tell; `context_tokens`: as the setting says.
    """
    own = max_length or context_tokens or CONTEXT_TOKENS
    return min(own, context_tokens or own)
