"""From scored tokens to entities: tokens to words, neighbours with one label to groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from modelyard.tasks.hints import means
from modelyard.tasks.model import Array


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A marked token (`entity`, `index`) or, aggregated, a group of them (`entity_group`).

    `start` and `end` count characters of the text, end exclusive. `index` counts tokens, special ones included.
    """

    entity: Annotated[str | UnsetType, means("label", "the token's label")] = UNSET
    entity_group: Annotated[str | UnsetType, means("label", "the group's label, when aggregated")] = UNSET
    score: Annotated[float, means("score", "its probability, 0 to 1")]
    index: Annotated[int | UnsetType, Meta(description="the token's number, special ones counted")] = UNSET
    word: Annotated[str, Meta(description="the text, as the tokenizer writes it")]
    start: Annotated[int, means("start", "its first character in the text", of="text")]
    end: Annotated[int, means("end", "the character after its last", of="text")]


@dataclass(frozen=True, slots=True)
class Piece:
    """One token: its text as the tokenizer writes it, its place, its probabilities (labels,).

    `inside`: it goes on with the word of the token before.
    """

    word: str
    index: int
    start: int
    end: int
    scores: Array
    inside: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A token or a whole word with the label chosen for it."""

    label: str
    score: float
    word: str
    start: int
    end: int
    index: int


def aggregate(
    pieces: Sequence[Piece], labels: Mapping[int, str], strategy: str, ignored: Sequence[str], tokenizer: Any
) -> list[Entity]:
    """The entities in `pieces` by `strategy`, without the `ignored` labels."""
    if strategy == "none":
        words = [choose(piece, labels) for piece in pieces]
        return [
            Entity(
                entity=word.label, score=word.score, index=word.index, word=word.word, start=word.start, end=word.end
            )
            for word in words
            if word.label not in ignored
        ]
    if strategy == "simple":
        words = [choose(piece, labels) for piece in pieces]
    else:
        words = [choose_word(run, labels, strategy, tokenizer) for run in whole_words(pieces)]
    groups = [group(run, tokenizer) for run in neighbours(words)]
    return [entity for entity in groups if entity.entity_group not in ignored]


def choose(piece: Piece, labels: Mapping[int, str]) -> Word:
    """The token with its likeliest label."""
    best = int(piece.scores.argmax())
    return Word(labels[best], float(piece.scores[best]), piece.word, piece.start, piece.end, piece.index)


def whole_words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The tokens of each word."""
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.inside:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def choose_word(pieces: Sequence[Piece], labels: Mapping[int, str], strategy: str, tokenizer: Any) -> Word:
    """The word with its label: its first token's, its mean score's, or its surest token's."""
    scores = np.stack([piece.scores for piece in pieces])
    if strategy == "first":
        decisive = scores[0]
    elif strategy == "average":
        decisive = scores.mean(axis=0)
    else:
        decisive = scores[int(scores.max(axis=1).argmax())]
    best = int(decisive.argmax())
    text = tokenizer.convert_tokens_to_string([piece.word for piece in pieces])
    return Word(labels[best], float(decisive[best]), text, pieces[0].start, pieces[-1].end, pieces[0].index)


def split_tag(label: str) -> tuple[str, str]:
    """`B-PER` as ("B", "PER"); a label without such a prefix counts as inside."""
    if label[:2] in ("B-", "I-"):
        return label[0], label[2:]
    return "I", label


def neighbours(words: Sequence[Word]) -> list[list[Word]]:
    """Runs of words with one label; a `B-` label begins a new run."""
    runs: list[list[Word]] = []
    for word in words:
        begins, tag = split_tag(word.label)
        if runs and begins != "B" and tag == split_tag(runs[-1][-1].label)[1]:
            runs[-1].append(word)
        else:
            runs.append([word])
    return runs


def group(words: Sequence[Word], tokenizer: Any) -> Entity:
    """One entity of a run: the mean of its scores, from its first character to its last."""
    return Entity(
        entity_group=words[0].label.split("-", 1)[-1],
        score=float(np.mean([word.score for word in words])),
        word=tokenizer.convert_tokens_to_string([word.word for word in words]),
        start=words[0].start,
        end=words[-1].end,
    )
