"""The `text` field that most tasks read: one string or a list, answered in the same form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Inputs, Params

MOST_TEXTS = 1024
"""Texts in one request; more would hold up everyone else's."""

Text = Annotated[
    str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_TEXTS)],
    msgspec.Meta(description="a text, or a list of 1 to 1024 texts, which is answered by a list"),
]


class TextInputs(Inputs, frozen=True, kw_only=True):
    """One text or several."""

    text: Text


TextCall = Call[TextInputs, Params]
Row = TypeVar("Row")


def texts_of(call: Call[Any, Any]) -> list[str]:
    """The call's texts, in order."""
    text = call.inputs.text
    return [text] if isinstance(text, str) else text


def text_length(call: Call[Any, Any]) -> int:
    """Characters in the call's longest text: near enough to tokens to put similar lengths together."""
    return max(len(text) for text in texts_of(call))


def answer_each_text(
    calls: Sequence[Call[Any, Any]], run_rows: Callable[[list[tuple[Call[Any, Any], str]]], Sequence[Any]]
) -> list[Any]:
    """Runs all texts of all calls as rows; one result per call: the text's own, or a list for a list.

    `run_rows` answers (call, text) pairs in order, a ModelyardError where one failed; one failed text fails its call.
    """
    return answer_each_row(calls, texts_of, run_rows, answer_texts)


def answer_each_row(
    calls: Sequence[Call[Any, Any]],
    rows_of: Callable[[Call[Any, Any]], Sequence[Row]],
    run_rows: Callable[[list[tuple[Call[Any, Any], Row]]], Sequence[Any]],
    answer: Callable[[Call[Any, Any], Sequence[Any]], Any],
) -> list[Any]:
    """Runs all rows of all calls together; one result per call, which `answer` makes of its rows' results.

    `run_rows` answers (call, row) pairs in order, a ModelyardError where one failed; one failed row fails its call.
    """
    rows = [rows_of(call) for call in calls]
    results = iter(run_rows([(call, row) for call, own in zip(calls, rows, strict=True) for row in own]))
    answers: list[Any] = []
    for call, own in zip(calls, rows, strict=True):
        found = [next(results) for _ in own]
        error = next((result for result in found if isinstance(result, ModelyardError)), None)
        answers.append(error or answer(call, found))
    return answers


def answer_texts(call: Call[Any, Any], results: Sequence[Any]) -> Any:
    """The results of the call's texts in the form of its text: one, or a list."""
    return results[0] if isinstance(call.inputs.text, str) else list(results)


def refuse_empty(text: str) -> None:
    """Raises InvalidRequest for a text without content, for models that cannot start from nothing."""
    if not text:
        raise InvalidRequest(field="text", got=text, accepted="a text that is not empty")


def shortened(text: str, error: InvalidRequest) -> str | None:
    """About as much of a text's beginning as a model reads that has refused it as too long; None: for another reason.

    `error`: with the `tokens` that the model was given and its `limit`.
    """
    if "tokens" not in error.data:
        return None
    return text[: min(len(text) * error.data["limit"] // error.data["tokens"], len(text) - 1)]
