"""token-classification: which words of a text name people, places, parts of speech, ..., or what the
words of a page are. Long texts run in windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task, attempt
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.encoding import Row, forward_each
from modelyard.tasks.shared.entities import Entity, Piece, aggregate
from modelyard.tasks.shared.scores import softmax
from modelyard.tasks.shared.texts import TextInputs, answer_each_text, text_length
from modelyard.tasks.shared.windows import TextWindow, check_shared, encode_windows, room_for
from modelyard.tasks.shared.word_boxes import (
    PageOrNone,
    check_boxes,
    encode_page,
    name_text,
    page_of,
    reads_places,
    with_places,
)


class TokenClassificationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to mark, or several; or a page."""

    word_boxes: PageOrNone = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for boxes that are none."""
        check_boxes(self.word_boxes)


class TokenClassificationParams(Params, frozen=True, kw_only=True):
    """How tokens become words and words become entities."""

    aggregation_strategy: Annotated[
        Literal["none", "simple", "first", "average", "max"],
        Meta(description="none: one answer per token; simple: neighbours of one label together; first, average, max: "
             "the same, whole words only, labelled by their first token, their mean score or their surest token"),
    ] = "none"  # fmt: skip
    ignore_labels: Annotated[list[str], Meta(description='labels to leave out; ["O"] by default')] = msgspec.field(
        default_factory=lambda: ["O"]
    )
    stride: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="tokens that neighbouring windows of a long text share; a quarter of the model's limit"),
    ] = None


TokenClassificationOutput = list[Entity | list[Entity]]
"""The marked tokens or entities in the text's order; one such list per text for a list."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Marks each text. All calls have equal params (their batch key)."""
    params: TokenClassificationParams = calls[0].params
    room = room_for(model, model.max_length, 0, pair=False)
    try:
        shared = check_shared(params.stride, room, "params.stride")
    except InvalidRequest as error:
        return [error for _ in calls]
    return answer_each_text(calls, lambda rows: mark(model, rows, params, shared))


def mark(
    model: Model, rows: Sequence[tuple[Call[Any, Any], str]], params: TokenClassificationParams, shared: int
) -> list[list[Entity] | InvalidRequest]:
    """The entities of each row's text; what is wrong with it, in its place."""
    texts = [text for _, text in rows]
    errors: dict[int, InvalidRequest] = {}
    if reads_places(model):
        windows = []
        for source, (call, text) in enumerate(rows):
            found = attempt(layout_windows, model, call, text, shared, source)
            if isinstance(found, InvalidRequest):
                errors[source] = found
            else:
                windows += found
    else:
        windows = encode_windows(model, texts, None, limit=model.max_length, shared=shared)
    scores = forward_each(model, [window.row for window in windows], read_token_scores)
    pieces: list[list[Piece]] = [[] for _ in texts]
    for place, (window, own) in enumerate(zip(windows, scores, strict=True)):
        following = windows[place + 1] if place + 1 < len(windows) else None
        end = following.first + shared // 2 if following and following.source == window.source else None
        start = window.first + shared // 2 if window.first else 0
        pieces[window.source] += pieces_of(model, window, texts[window.source], own, start, end)
    return [
        errors.get(source)
        or aggregate(own, model.labels, params.aggregation_strategy, params.ignore_labels, model.tokenizer)
        for source, own in enumerate(pieces)
    ]


def layout_windows(model: Model, call: Call[Any, Any], text: str, shared: int, source: int) -> list[TextWindow]:
    """The windows of one text for a model that reads where words are: of its page, where it has one.

    Raises InvalidRequest.
    """
    page = page_of(model, call, text)
    if page is not None:
        return encode_page(model, page, limit=model.max_length, shared=shared, source=source)
    windows = encode_windows(model, [text], None, limit=model.max_length, shared=shared)
    return [replace(window, source=source, row=with_places(model, window.row)) for window in windows]


def read_token_scores(outputs: Mapping[str, Array], place: int, row: Row) -> Array:
    """One row's probabilities, (tokens, labels)."""
    return softmax(outputs["logits"][place, : len(row["input_ids"])])


def pieces_of(model: Model, window: TextWindow, text: str, scores: Array, start: int, end: int | None) -> list[Piece]:
    """The window's tokens from `start` to `end` in the text. Of two windows, the one where a token is less near the
    edge speaks for it."""
    leading = next((place for place, part in enumerate(window.parts) if part == 0), 0)
    found = []
    for place, part in enumerate(window.parts):
        position = window.first + place - leading
        if part != 0 or position < start or (end is not None and position >= end):
            continue
        token = window.row["input_ids"][place]
        word = model.tokenizer.convert_ids_to_tokens(token)
        first, last = window.offsets[place]
        unknown = token == model.tokenizer.unk_token_id
        found.append(
            Piece(
                word=text[first:last] if unknown and first < last else word,
                index=position + leading,
                start=first,
                end=last,
                scores=scores[place],
                inside=not unknown and is_inside_word(model, word, text, first, last),
            )
        )
    return found


def is_inside_word(model: Model, token: str, text: str, start: int, end: int) -> bool:
    """Whether the token goes on with the word before it."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    prefix = getattr(getattr(backend, "model", None), "continuing_subword_prefix", None)
    if prefix:
        return len(token) != end - start
    return start > 0 and not any(character.isspace() for character in text[start - 1 : start + 1])


TASK = Task(
    id="token-classification",
    summary="Mark the words of a text that name something.",
    inputs=TokenClassificationInputs,
    params=TokenClassificationParams,
    output=TokenClassificationOutput,
    run=run,
    heads=("token-classification",),
    example={"text": "Angela lives in Paris.", "params": {"aggregation_strategy": "simple"}},
    prepare=name_text,
    length=text_length,
    sizes=sizes.texts,
    has_variants=True,
)
