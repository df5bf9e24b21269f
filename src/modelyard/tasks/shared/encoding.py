"""Texts to padded arrays and back to one result per text. Owns truncation, padding and the order of forward passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, TypeVar, cast

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Array, Model

T = TypeVar("T")
Row = Mapping[str, Sequence[Any]]
"""One encoded text: the model's argument names → ids, unpadded; of PLACES four numbers for each."""
Read = Callable[[Mapping[str, Array], int, Row], T]
"""Takes one row's result from a batch's outputs: (outputs, the row's place in the batch, the row)."""
NAMES = ("input_ids", "attention_mask", "token_type_ids", "input_shape_ids", "input_pronunciation_ids")
"""The arguments that a text becomes. Which of them a tokenizer makes depends on its model; RoCBert's makes the last."""
PLACES = "bbox"
"""The argument that says where on a page each token is."""

READS_PADDING = frozenset({
    "canine", "convbert", "cpmant", "funnel", "mobilebert", "sam3_lite_text_text_model", "xlnet", "yoso",
})  # fmt: skip
"""Types of models in whose answers padding shows whatever the mask says: most mix neighbouring tokens, by convolutions
or by pooling; XLNet takes the last place for the text's. Found by comparing, for every architecture, a padded row with
the same row alone."""


def encode(model: Model, texts: Sequence[str], pairs: Sequence[str] | None = None, **settings: Any) -> list[Row]:
    """One row per text (with its pair, where given), cut at the end to `model.max_length`.

    `settings` go to the tokenizer; `truncation="only_first"` keeps pairs whole. Raises InvalidRequest when a pair
    leaves no room.
    """
    limit = {"truncation": True, "max_length": model.max_length} if model.max_length else {}
    first: list[Any] = list(texts)
    second: list[Any] | None = None if pairs is None else list(pairs)
    if takes_boxes(model.tokenizer):
        first, second, settings = as_words(first, second, settings)
    try:
        batch = model.tokenizer(first, second, **{**limit, **settings})
    except Exception as error:
        # The fast tokenizers raise bare Exception when truncation cannot make a pair fit.
        raise InvalidRequest(f"text: the tokenizer refused it: {error}", field="text") from error
    names = [name for name in NAMES if name in batch]
    return [{name: batch[name][index] for name in names} for index in range(len(texts))]


def takes_boxes(tokenizer: Any) -> bool:
    """Whether a tokenizer reads words with their boxes, and no text without (LayoutLMv3's, LayoutXLM's, UDOP's)."""
    return tokenizer is not None and _takes_boxes(cast("Hashable", type(tokenizer)))


@cache
def _takes_boxes(kind: Any) -> bool:
    return "boxes" in inspect.signature(kind.__call__).parameters


def as_words(
    texts: list[str], pairs: list[str] | None, settings: dict[str, Any]
) -> tuple[list[Any], list[Any] | None, dict[str, Any]]:
    """Texts for such a tokenizer: those that have boxes, which are the pairs where there are some, as words at the
    page's origin."""
    words = [text.split() for text in (texts if pairs is None else pairs)]
    settings = {**settings, "boxes": [[[0, 0, 0, 0] for _ in each] for each in words]}
    return (words, None, settings) if pairs is None else ([*texts], words, settings)


def collate(model: Model, rows: Sequence[Row], *, left: bool = False) -> dict[str, Array]:
    """The rows as (rows, longest) int64 arrays, of PLACES (rows, longest, 4), padded on the right, or on the `left` as
    causal models want it."""
    padding = {"input_ids": model.tokenizer.pad_token_id, "token_type_ids": model.tokenizer.pad_token_type_id}
    fewest = model.config.get("downsampling_rate") or 1  # tokens that CANINE takes for one: with fewer it fails
    longest = max(fewest, *(len(row["input_ids"]) for row in rows))
    arrays = {}
    for name in rows[0]:
        shape, kind = ((4,), np.asarray(rows[0][name]).dtype) if name == PLACES else ((), np.int64)
        array: Array = np.full((len(rows), longest, *shape), padding.get(name, 0), dtype=kind)
        for index, row in enumerate(rows):
            ids = row[name]
            array[index, longest - len(ids) if left else 0 : None if left else len(ids)] = ids
        arrays[name] = array
    return arrays


def batches(lengths: Sequence[int], most_rows: int, *, equal: bool = False) -> Iterator[list[int]]:
    """Indices in batches of similar length, as padding costs as much as text; where asked for, of `equal` length."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = [list(group) for _, group in groupby(order, lengths.__getitem__)] if equal else [order]
    for group in groups:
        for start in range(0, len(group), most_rows):
            yield group[start : start + most_rows]


def reads_padding(model: Model, row: Row) -> bool:
    """Whether padding would show in the model's answers, so that only rows of equal length run together."""
    return "attention_mask" not in row or model.config.get("model_type") in READS_PADDING


def forward_each(
    model: Model, rows: Sequence[Row], read: Read[T], *, most_rows: int = 32, method: str = "forward", **settings: Any
) -> list[T]:
    """What `read` takes from the outputs for each row, in the rows' order. Runs rows of similar length together.
    `method`, `settings`: see `Model.forward`."""
    results: dict[int, T] = {}
    equal = bool(rows) and reads_padding(model, rows[0])
    for batch in batches([len(row["input_ids"]) for row in rows], most_rows, equal=equal):
        outputs = model.forward(collate(model, [rows[index] for index in batch]), method=method, **settings)
        results.update((index, read(outputs, place, rows[index])) for place, index in enumerate(batch))
    return [results[index] for index in range(len(rows))]


def read_logits(outputs: Mapping[str, Array], place: int, _row: Row) -> Array:
    """One row's logits, for models that give one vector per text: (labels,)."""
    logits: Array = outputs["logits"][place]
    return logits
