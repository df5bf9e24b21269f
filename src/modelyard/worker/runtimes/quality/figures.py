"""The figures by which a variant is judged, each with its bound. Pure arithmetic on both sides' answers.

A difference that decides nothing counts as none: between two labels or tokens that the original finds nearly as likely
as one another, its own choice is a matter of chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.records.variants import Figure
from modelyard.tasks.model import Array

COSINE_MEAN, COSINE_WORST = 0.99, 0.97
"""Of a text's vectors: below that, searches begin to rank other texts first."""
LABEL_AGREEMENT, PROBABILITY_ERROR = 0.97, 0.03
PERPLEXITY_INCREASE, TOKEN_AGREEMENT = 0.03, 0.95
"""Three percent: as much as 8-bit weights cost in the formats that people run at home, and less than 4-bit ones."""
SCORE_ERROR = 0.1
"""Of scores that are no probabilities: root mean square of the error over their standard deviation."""
TIE = 0.1
"""How much less likely than its own choice the original may find another that counts as the same."""


def compare_vectors(wanted: Array, got: Array) -> tuple[Figure, ...]:
    """Of embeddings, (texts, width) each."""
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1)
    cosines = np.sum(wanted * got, axis=1) / lengths
    return (
        Figure("cosine_mean", float(cosines.mean()), COSINE_MEAN, at_least=True),
        Figure("cosine_worst", float(cosines.min()), COSINE_WORST, at_least=True),
    )


def compare_probabilities(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[Figure, ...]:
    """Of choices between labels: for each, the labels' probabilities."""
    agreed = [agrees(theirs, own) for theirs, own in zip(wanted, got, strict=True)]
    errors = [np.abs(theirs - own).max() for theirs, own in zip(wanted, got, strict=True)]
    return (
        Figure("label_agreement", float(np.mean(agreed)), LABEL_AGREEMENT, at_least=True),
        Figure("probability_error", float(np.mean(errors)), PROBABILITY_ERROR, at_least=False),
    )


def compare_scores(wanted: Sequence[Array], got: Sequence[Array]) -> tuple[Figure, ...]:
    """Of scores that are no probabilities."""
    theirs, own = np.concatenate(wanted).astype(np.float64), np.concatenate(got)
    error, spread = float(np.sqrt(np.mean((theirs - own) ** 2))), float(theirs.std())
    relative = error / spread if spread else (0.0 if error == 0 else float("inf"))
    return (Figure("score_error", relative, SCORE_ERROR, at_least=False),)


def compare_words(wanted: Sequence[Array], got: Sequence[Array], targets: Sequence[Array]) -> tuple[Figure, ...]:
    """Of texts that are read word by word: the next token's probabilities, (tokens, vocabulary), and what came."""
    agreed = [
        agrees(theirs, own)
        for one, other in zip(wanted, got, strict=True)
        for theirs, own in zip(one, other, strict=True)
    ]
    increase = np.expm1(surprise(got, targets) - surprise(wanted, targets))
    return (
        Figure("perplexity_increase", float(increase), PERPLEXITY_INCREASE, at_least=False),
        Figure("token_agreement", float(np.mean(agreed)), TOKEN_AGREEMENT, at_least=True),
    )


def surprise(probabilities: Sequence[Array], targets: Sequence[Array]) -> float:
    """The mean negative logarithm of what was given to the token that came; its exponential is the perplexity."""
    given = [table[np.arange(len(came)), came] for table, came in zip(probabilities, targets, strict=True)]
    return float(-np.log(np.maximum(np.concatenate(given), np.finfo(np.float32).tiny)).mean())


def agrees(wanted: Array, got: Array) -> bool:
    """Whether the variant's choice is the original's, or one that it finds nearly as likely."""
    return bool(wanted.max() - wanted[int(got.argmax())] <= TIE)
