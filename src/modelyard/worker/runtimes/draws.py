"""Tokens drawn by their scores at the least cost: the likeliest without sorting all, and draws that nobody repeats.

Owns how much is computed, not what: scores that are kept are the library's, and draws have the shares that it gives
them.
"""

from __future__ import annotations

import secrets
from typing import Any

import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import TopPLogitsWarper

MOST_LIKELY = 256
"""Among so many tokens the share that is asked for is looked for; where they have less, all are sorted."""
MARGIN = 1e-5
"""A sum of shares that is as near to the one asked for may be on its other side when it is added up otherwise."""
BITS = 52
"""Of a draw: as many as leave it below 1 after any product with a sum of shares."""


class LikelyTokens(TopPLogitsWarper):  # type: ignore[misc]  # the library is untyped
    """The library's choice of the likeliest tokens that have a share of `top_p` together.

    Where roundings, or tokens of equal score, could make that another one, the library makes it itself.
    """

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows, vocabulary), with those that are not among them at the filter value."""
        best = scores.topk(min(MOST_LIKELY, scores.shape[-1]))
        shares = (best.values - scores.logsumexp(-1, keepdim=True)).exp().double()
        before = shares.cumsum(-1) - shares
        kept = before < self.top_p
        kept[:, : self.min_tokens_to_keep] = True
        last = kept.sum(-1, keepdim=True) - 1
        if kept[:, -1].any() or not before[:, -1].isfinite().all():
            return self._by_sorting(input_ids, scores)
        is_tied = best.values.gather(-1, last) == best.values.gather(-1, last + 1)
        if is_tied.any() or ((before - self.top_p).abs() < MARGIN).any():
            return self._by_sorting(input_ids, scores)
        values = best.values.masked_fill(~kept, self.filter_value)
        return torch.full_like(scores, self.filter_value).scatter_(-1, best.indices, values)

    def _by_sorting(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = super().__call__(input_ids, scores)
        return made


def without_sorting(processors: LogitsProcessorList) -> LogitsProcessorList:
    """The same processors, which need not sort all tokens."""
    return LogitsProcessorList(
        LikelyTokens(each.top_p, each.filter_value, each.min_tokens_to_keep) if type(each) is TopPLogitsWarper else each
        for each in processors
    )


def draw_tokens(scores: torch.Tensor) -> torch.Tensor:
    """One token for each row by its scores, (rows, vocabulary): a draw that cannot be repeated, of one random number
    each, where `torch.multinomial` makes one for each token of the vocabulary. Raises ValueError about scores that are
    no numbers, or infinite."""
    ends = torch.softmax(scores, dim=-1).cumsum(-1, dtype=torch.float64)
    if not ends[:, -1].isfinite().all():
        raise ValueError("the scores of the next token are not numbers, or infinite")
    drawn = [[secrets.randbits(BITS) / 2**BITS] for _ in range(len(scores))]
    places = torch.tensor(drawn, dtype=torch.float64).to(ends.device) * ends[:, -1:]
    return torch.searchsorted(ends, places, right=True).squeeze(1)
