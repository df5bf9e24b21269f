"""A page's words and where they are, for models that read layouts (LayoutLM, LiLT, BROS): the field of requests, and
the page as windows of tokens, each with its word's place. Owns no task."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call
from modelyard.tasks.model import Model
from modelyard.tasks.shared.encoding import NAMES, PLACES, Row, takes_boxes
from modelyard.tasks.shared.windows import TextWindow, encode_windows

PAGE = 1000
"""Boxes are in thousandths of the page's width and height."""
Coordinate = Annotated[float, Meta(ge=0, le=PAGE)]
WordBox = Annotated[list[Coordinate], Meta(min_length=4, max_length=4)]
WordBoxes = Annotated[list[tuple[str, WordBox]], Meta(min_length=1, max_length=100_000)]
Page = Sequence[tuple[str, Sequence[float]]]
"""Words in reading order, each with left, top, right, bottom."""

PageOrNone = Annotated[
    WordBoxes | None,
    Meta(
        description="in place of text, a page's words in reading order, for models that read layouts (LayoutLM, LiLT, "
        "BROS): [[word, [left, top, right, bottom]], ...] in thousandths of the page's width and height; the answer is "
        "about the words with one space between them"
    ),
]

_ENDS_IN_FAR_CORNER = ("layoutlm", "bros")
"""Types of models that were trained with what separates texts in the page's far corner; for others it is at the
origin, or their tokenizer says where."""
_READS_SHARES = ("bros",)
"""Types that read places from 0 to 1."""


def name_text(fields: dict[str, Any]) -> dict[str, Any]:
    """The body's fields with the text that its `word_boxes` make, where it has no other. What is malformed is left to
    be named by the types."""
    if "text" in fields or "word_boxes" not in fields:
        return fields
    try:
        page = msgspec.convert(fields["word_boxes"], WordBoxes)
    except msgspec.ValidationError:
        page = []
    return {**fields, "text": text_of(page)}


def check_boxes(page: Page | None) -> None:
    """Raises InvalidRequest for a box that ends before it begins."""
    for at, (_, (left, top, right, bottom)) in enumerate(page or ()):
        if left > right or top > bottom:
            raise InvalidRequest(
                field=f"word_boxes[{at}][1]", got=[left, top, right, bottom], accepted="[left, top, right, bottom]"
            )


def text_of(page: Page) -> str:
    """The words with one space between them."""
    return " ".join(word for word, _ in page)


def reads_places(model: Model) -> bool:
    """Whether the model reads where words are."""
    return "max_2d_position_embeddings" in model.config or model.config.get("model_type") in _READS_SHARES


def page_of(model: Model, call: Call[Any, Any], text: str) -> Page | None:
    """The page of a call whose text is `text`. None: there is none, and the text is to be read as such.

    A tokenizer that reads words with boxes alone gets the text's words, all of them at the origin. Raises
    InvalidRequest for a page beside another text.
    """
    page: Page | None = call.inputs.word_boxes
    if page is not None and text != text_of(page):
        raise InvalidRequest(
            "word_boxes: got words beside another text; accepted: word_boxes without text", field="word_boxes"
        )
    if page is None and takes_boxes(model.tokenizer):
        return [(word, [0, 0, 0, 0]) for word in text.split()]
    return page


def with_places(model: Model, row: Row) -> Row:
    """A text's row, of whose words nobody said where they are."""
    return {**row, PLACES: scaled(model, [[0, 0, 0, 0]] * len(row["input_ids"]))}


def encode_page(model: Model, page: Page, *, limit: int | None, shared: int, source: int = 0) -> list[TextWindow]:
    """The page's windows, as `encode_windows` makes them of its text, whose rows have the places of their tokens."""
    starts = [0, *accumulate(len(word) + 1 for word, _ in page)]
    if takes_boxes(model.tokenizer):
        return _encode_with_boxes(model, page, starts, limit=limit, shared=shared, source=source)
    windows = []
    # Of each character, its word; a space is of the word after it, as a token may begin with one.
    words = [number for number, (word, _) in enumerate(page) for _ in range(len(word) + (number > 0))]
    for window in encode_windows(model, [text_of(page)], None, limit=limit, shared=shared):
        tokens = zip(window.parts, window.offsets, window.row["input_ids"], strict=True)
        places = [
            place_of_special(model, token) if part is None else page[words[first]][1]
            for part, (first, _), token in tokens
        ]
        row = {**window.row, PLACES: scaled(model, places)}
        windows.append(TextWindow(source, window.first, row, window.offsets, window.parts, window.words))
    return windows


def _encode_with_boxes(
    model: Model, page: Page, starts: Sequence[int], *, limit: int | None, shared: int, source: int
) -> list[TextWindow]:
    """The same by a tokenizer that gives each token its place itself."""
    cut: dict[str, Any] = {}
    if limit is not None:
        cut = {"truncation": True, "max_length": limit, "stride": shared, "return_overflowing_tokens": True}
    batch = model.tokenizer([[word for word, _ in page]], boxes=[whole_boxes(page)], return_offsets_mapping=True, **cut)
    windows: list[TextWindow] = []
    for index, offsets in enumerate(batch["offset_mapping"]):
        words, parts = batch.word_ids(index), batch.sequence_ids(index)
        first = windows[-1].first + windows[-1].parts.count(0) - shared if windows else 0
        row: Row = {name: batch[name][index] for name in NAMES if name in batch}
        shifted = [
            (0, 0) if word is None else (starts[word] + begin, starts[word] + end)
            for word, (begin, end) in zip(words, offsets, strict=True)
        ]
        row = {**row, PLACES: scaled(model, batch[PLACES][index])}
        windows.append(TextWindow(source, first, row, shifted, parts, words))
    return windows


def whole_boxes(page: Page) -> list[list[int]]:
    """The words' places in whole thousandths, as models were trained with."""
    return [[int(value) for value in box] for _, box in page]


def place_of_special(model: Model, token: int) -> list[int]:
    """Where a token that is of no word is taken to be."""
    far = token == model.tokenizer.sep_token_id and model.config.get("model_type") in _ENDS_IN_FAR_CORNER
    return [PAGE if far else 0] * 4


def scaled(model: Model, places: Sequence[Sequence[float]]) -> list[list[float]]:
    """Places in the measure that the model reads: whole thousandths, or shares of the page."""
    whole = [[int(value) for value in place] for place in places]
    if model.config.get("model_type") not in _READS_SHARES:
        return [[*place] for place in whole]
    return [[value / PAGE for value in place] for place in whole]
