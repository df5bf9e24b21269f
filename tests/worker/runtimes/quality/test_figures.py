"""By which figures a variant is judged: what counts as a difference, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.records.variants import Figure
from modelyard.worker.runtimes.quality import figures


def values(found: tuple[Figure, ...]) -> dict[str, float]:
    return {figure.name: figure.value for figure in found}


def test_vectors_are_compared_by_direction_on_average_and_at_worst() -> None:
    wanted = np.array([[1.0, 0.0], [3.0, 4.0]])
    found = figures.compare_vectors(wanted, np.array([[2.0, 0.0], [4.0, 3.0]]))
    assert values(found) == pytest.approx({"cosine_mean": 0.98, "cosine_worst": 0.96})
    assert [figure.holds for figure in found] == [False, False]
    assert all(figure.holds for figure in figures.compare_vectors(wanted, 5 * wanted))


def test_another_label_counts_only_where_the_original_was_sure() -> None:
    tied, sure = np.array([0.5, 0.45, 0.05]), np.array([0.9, 0.05, 0.05])
    other = np.array([0.4, 0.55, 0.05])
    assert values(figures.compare_probabilities([tied, sure], [other, sure])) == pytest.approx(
        {"label_agreement": 1.0, "probability_error": 0.05}
    )
    assert values(figures.compare_probabilities([tied, sure], [tied, other]))["label_agreement"] == 0.5


def test_scores_that_are_no_probabilities_are_compared_by_their_spread() -> None:
    wanted = [np.array([0.0]), np.array([2.0])]
    (found,) = figures.compare_scores(wanted, [np.array([0.05]), np.array([1.95])])
    assert (found.name, found.value, found.holds) == ("score_error", pytest.approx(0.05), True)
    (same,) = figures.compare_scores([np.array([1.0])], [np.array([1.0])])
    assert same.value == 0.0


def test_words_are_compared_by_what_came_and_by_what_was_likeliest() -> None:
    wanted = np.array([[0.8, 0.2], [0.3, 0.7]])
    came = np.array([0, 1])
    assert values(figures.compare_words([wanted], [wanted], [came])) == {
        "perplexity_increase": 0.0,
        "token_agreement": 1.0,
    }
    surer, turned = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.4, 0.6], [0.3, 0.7]])
    assert values(figures.compare_words([wanted], [surer], [came]))["perplexity_increase"] < 0
    found = figures.compare_words([wanted], [turned], [came])
    assert values(found) == pytest.approx({"perplexity_increase": 2**0.5 - 1, "token_agreement": 0.5})
    assert not any(figure.holds for figure in found)


@pytest.mark.parametrize("at_least", [True, False])
def test_what_is_no_number_keeps_no_bound(at_least: bool) -> None:
    assert not Figure("cosine_mean", float("nan"), 0.5, at_least=at_least).holds
    assert Figure("cosine_mean", 0.5, 0.5, at_least=at_least).holds
