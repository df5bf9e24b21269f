"""Tokens are drawn by the shares that the library gives them, whatever is spared."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from modelyard.worker.runtimes.draws import MOST_LIKELY, LikelyTokens, draw_tokens, without_sorting

VOCABULARY = 5000
DRAWS = 40_000


def some_scores(rows: int, spread: float) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(2)) * spread


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("spread", [0.1, 2.0, 4.0, 20.0], ids=["flat", "wide", "usual", "peaked"])
def test_the_likeliest_tokens_are_those_that_the_library_finds(spread: float, top_p: float) -> None:
    scores = some_scores(6, spread)
    for given in (scores, scores[:1], scores[:, :7], scores.masked_fill(scores < spread, -torch.inf)):
        assert torch.equal(LikelyTokens(top_p)(None, given), TopPLogitsWarper(top_p)(None, given))


def test_tokens_of_equal_score_are_kept_as_the_library_keeps_them() -> None:
    scores = (some_scores(20, 3.0) * 2).round() / 2
    assert torch.equal(LikelyTokens(0.8)(None, scores), TopPLogitsWarper(0.8)(None, scores))


def test_a_few_tokens_that_are_always_kept_are_kept() -> None:
    scores = some_scores(3, 20.0)
    found = LikelyTokens(0.01, min_tokens_to_keep=4)(None, scores)
    assert torch.equal(found, TopPLogitsWarper(0.01, min_tokens_to_keep=4)(None, scores))
    assert found.isfinite().sum(-1).tolist() == [4, 4, 4]


def test_scores_that_are_no_numbers_stay_so() -> None:
    scores = some_scores(2, 4.0)
    scores[1, 3] = torch.nan
    assert LikelyTokens(0.9)(None, scores)[1].isnan().any()


def test_what_is_found_among_few_tokens_is_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = some_scores(4, 4.0)
    expected = TopPLogitsWarper(0.9)(None, scores)
    monkeypatch.delattr(torch, "sort")
    (found,) = without_sorting(LogitsProcessorList([TopPLogitsWarper(0.9)]))
    assert torch.equal(found(None, scores), expected)
    assert expected.isfinite().sum(-1).max() < MOST_LIKELY


def test_other_processors_stay_as_they_are() -> None:
    warmth = TemperatureLogitsWarper(0.5)
    assert list(without_sorting(LogitsProcessorList([warmth]))) == [warmth]


def test_tokens_are_drawn_by_their_shares_and_never_where_they_have_none() -> None:
    shares = [0.0, 0.5, 0.0, 0.25, 0.2, 0.05, 0.0]
    drawn = Counter(draw_tokens(torch.tensor(shares).log().repeat(DRAWS, 1)).tolist())
    assert set(drawn) == {1, 3, 4, 5}
    for token, count in drawn.items():
        deviation = (DRAWS * shares[token] * (1 - shares[token])) ** 0.5
        assert abs(count - DRAWS * shares[token]) < 7 * deviation


def test_each_row_draws_by_its_own_scores() -> None:
    scores = torch.full((3, VOCABULARY), -torch.inf)
    for row, token in enumerate((7, 0, VOCABULARY - 1)):
        scores[row, token] = 1.0
    assert draw_tokens(scores).tolist() == [7, 0, VOCABULARY - 1]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_nothing_is_drawn_by_scores_that_are_no_numbers(wrong: float) -> None:
    with pytest.raises(ValueError, match="not numbers"):
        draw_tokens(torch.full((1, 9), wrong))
