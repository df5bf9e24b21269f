"""The `text` field that most tasks read: one string or a list, answered in the same form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

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
    counts = [len(texts_of(call)) for call in calls]
    results = iter(run_rows([(call, text) for call in calls for text in texts_of(call)]))
    answers: list[Any] = []
    for call, count in zip(calls, counts, strict=True):
        own = [next(results) for _ in range(count)]
        error = next((result for result in own if isinstance(result, ModelyardError)), None)
        answers.append(error or answer_texts(call, own))
    return answers


def answer_texts(call: Call[Any, Any], results: Sequence[Any]) -> Any:
    """The results of the call's texts in the form of its text: one, or a list."""
    return results[0] if isinstance(call.inputs.text, str) else list(results)


def refuse_empty(text: str) -> None:
    """Raises InvalidRequest for a text without content, for models that cannot start from nothing."""
    if not text:
        raise InvalidRequest(field="text", got=text, accepted="a text that is not empty")
