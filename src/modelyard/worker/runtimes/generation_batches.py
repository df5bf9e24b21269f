"""Which rows may be generated together, so that each gets what it would get alone. Pure: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.tasks.model import Array
from modelyard.worker.runtimes.generation_settings import new_token_limit

_READS_PROMPT: tuple[tuple[str, Any], ...] = (
    ("repetition_penalty", 1.0),
    ("no_repeat_ngram_size", 0),
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0),
    ("forced_eos_token_id", None),
)
"""Settings that depend on the prompt's tokens or their number, with the value that switches each off."""

READS_PADDING = frozenset({"rwkv", "xlstm"})
"""Types of models whose passes take a mask and do not look at it, so that a padded prompt is another prompt."""


def groups(
    lengths: Array, config: Any, *, seeded: bool, seq2seq: bool, window: int | None, reads_padding: bool = False
) -> list[list[int]]:
    """Splits a batch into batches in which every row is generated as it would be alone.

    `lengths`: (rows,) tokens in each prompt; `window`: most tokens of prompt and answer together, when limited.
    `reads_padding`: a padded prompt is another prompt to the model.
    """
    rows = range(len(lengths))
    if seeded:
        return [[row] for row in rows]
    by_length: dict[int, list[int]] = {}
    together: list[int] = []
    reads_prompt = reads_padding or any(
        getattr(config, name) not in (None, neutral)
        for name, neutral in _READS_PROMPT
        if not seq2seq or "encoder" in name
    )
    most = max((new_token_limit(config, int(length), window) for length in lengths), default=0)
    for row in rows:
        length = int(lengths[row])
        # A row that ends early is still carried along; past the window its positions would not exist.
        overflows = not seq2seq and window is not None and length + most > window
        (by_length.setdefault(length, []) if reads_prompt or overflows else together).append(row)
    return [group for group in (together, *by_length.values()) if group]


def prompt_lengths(inputs: Mapping[str, Array]) -> Array:
    """Tokens in each row's prompt: (rows,). A row without a prompt counts as one token, the one it starts from."""
    if "attention_mask" in inputs:
        lengths: Array = inputs["attention_mask"].sum(axis=1)
        return lengths
    first = inputs["input_ids"] if "input_ids" in inputs else next(iter(inputs.values()))
    return np.full(len(first), first.shape[1] if "input_ids" in inputs else 1)


def cut_padding(inputs: Mapping[str, Array], name: str, rows: Sequence[int]) -> Array:
    """The array `name` for `rows` only; where it goes along with the tokens, without the columns that are padding in
    all of them. Raises ValueError for several rows of which each has no entry of its own."""
    array, count = inputs[name], len(prompt_lengths(inputs))
    if len(array) != count:
        if count == 1:
            return array
        raise ValueError(f"{name} has {len(array)} entries for {count} rows")
    mask = inputs.get("attention_mask")
    if mask is None or array.shape[:2] != mask.shape or array.ndim > 3:
        return array[list(rows)]
    return array[list(rows)][:, mask[list(rows)].any(axis=0)]
