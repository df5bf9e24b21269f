"""Spans of a text as answers: scores for where an answer begins and ends, and the best pairs of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.tasks.hints import means
from modelyard.tasks.model import Array
from modelyard.tasks.shared.scores import softmax
from modelyard.tasks.shared.windows import TextWindow

SharedTokens = Annotated[
    Annotated[int, Meta(ge=0)] | None,
    Meta(description="tokens that neighbouring windows share; by default 128, or half a window if that is less"),
]
"""The params that the tasks have in common which answer with spans: doc_stride, max_answer_len, max_seq_len."""
AnswerTokens = Annotated[Annotated[int, Meta(ge=1)], Meta(description="most tokens in an answer; 15")]
WindowTokens = Annotated[
    Annotated[int, Meta(ge=8)] | None,
    Meta(description="most tokens in a window, the question included; 384, or the model's limit if that is less"),
]


class Span(msgspec.Struct, frozen=True):
    """An answer: its probability, its characters in the context (end exclusive), its text."""

    score: Annotated[float, means("score", "its probability, 0 to 1")]
    start: Annotated[int, means("start", "its first character in the context", of="context")]
    end: Annotated[int, means("end", "the character after its last", of="context")]
    answer: Annotated[str, means("label", "its text")]


@dataclass(frozen=True, slots=True)
class WindowScores:
    """A window's probabilities: of each context token to begin and to end the answer, and of there being none."""

    start: Array
    end: Array
    context: Array
    nothing: float


def score_window(window: TextWindow, start: Array, end: Array, cls: int | None) -> WindowScores:
    """Probabilities from (tokens,) logits, over the context and the [CLS] token, which stands for no answer."""
    context = np.array([part == 1 for part in window.parts])
    none = np.array([token == cls for token in window.row["input_ids"]])
    start, end = softmax(np.where(context | none, start, -np.inf)), softmax(np.where(context | none, end, -np.inf))
    nothing = float((start * end)[none].sum())
    where = np.flatnonzero(context)
    return WindowScores(start[where], end[where], where, nothing)


def best_spans(
    window: TextWindow, scored: WindowScores, context: str, top_k: int, most_tokens: int, whole_words: bool
) -> list[Span]:
    """The window's `top_k` likeliest spans of at most `most_tokens` tokens, best first."""
    pairs = np.outer(scored.start, scored.end)
    pairs = np.triu(pairs) - np.triu(pairs, most_tokens)
    order = np.argsort(-pairs, axis=None, kind="stable")[:top_k]
    spans = []
    for begin, end in zip(*np.unravel_index(order, pairs.shape), strict=True):
        first, last = characters(window, int(scored.context[begin]), int(scored.context[end]), whole_words)
        if end >= begin:
            spans.append(Span(float(pairs[begin, end]), first, last, context[first:last]))
    return spans


def characters(window: TextWindow, begin: int, end: int, whole_words: bool) -> tuple[int, int]:
    """The characters of the tokens `begin` to `end`, widened to whole words where asked for."""
    if not whole_words:
        return window.offsets[begin][0], window.offsets[end][1]
    first = next(
        place
        for place in range(len(window.words))
        if window.parts[place] == 1 and window.words[place] == window.words[begin]
    )
    last = next(
        place
        for place in reversed(range(len(window.words)))
        if window.parts[place] == 1 and window.words[place] == window.words[end]
    )
    return window.offsets[first][0], window.offsets[last][1]
