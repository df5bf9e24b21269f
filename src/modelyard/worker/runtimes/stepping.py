"""What happens between two tokens of a batch: who gets them, which rows end, which must not end yet.

These are the library's two hooks, called once per step with the whole batch. They hold the state of one `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from modelyard.protocol import FinishReason
from modelyard.tasks.model import GeneratedTokens, OnTokens


class Rows(StoppingCriteria):  # type: ignore[misc]  # the library is untyped
    """Hands each row's new token to `on_tokens` and ends the rows that are done, while others go on.

    Under beam search and with several sequences per row there is no one next token; then `on_tokens` is called with
    no tokens at each step, so that it can still end the row.
    """

    def __init__(
        self,
        rows: Sequence[int],
        longest: Sequence[int],
        ends: Sequence[int],
        on_tokens: OnTokens,
        *,
        sequences: int,
        forces_end: bool = False,
    ) -> None:
        """`rows`: what `on_tokens` calls each row. `longest`: most new tokens of each. `ends`: ids that end a row.

        `forces_end`: the last token at the most length is an end token, whatever the model wanted.
        """
        self.steps_rows = sequences == 1
        self.prompt_width = 0
        self._rows = rows
        self._longest = longest
        self._ends = frozenset(ends)
        self._on_tokens = on_tokens
        self._forces_end = forces_end
        self._tokens: list[list[int]] = [[] for _ in rows]
        self._made = [0] * len(rows)
        self._reasons: list[FinishReason | None] = [None] * len(rows)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """The done mask after a step. `input_ids`: (rows × sequences, prompt + new tokens)."""
        if not self.prompt_width:
            self.prompt_width = input_ids.shape[1] - 1
        made = input_ids.shape[1] - self.prompt_width
        newest = input_ids[:, -1].tolist() if self.steps_rows else [None] * len(self._rows)
        for index, token in enumerate(newest):
            if self._reasons[index] is None:
                self._made[index] = made
                self._reasons[index] = self._step(index, token)
        done = torch.tensor([reason is not None for reason in self._reasons], device=input_ids.device)
        return done.repeat_interleave(input_ids.shape[0] // len(self._rows))

    def _step(self, index: int, token: int | None) -> FinishReason | None:
        """Why the row ends with this token, if it does; a token of None: there is no one token."""
        if token is not None and token in self._ends:
            return self._reason_of_end(index, self._made[index])
        if token is not None:
            self._tokens[index].append(token)
        if self._on_tokens(self._rows[index], () if token is None else (token,)):
            return FinishReason.CANCELLED
        return FinishReason.LENGTH if self._made[index] >= self._longest[index] else None

    def _reason_of_end(self, index: int, made: int) -> FinishReason:
        """Why a sequence of `made` tokens has ended in an end token."""
        forced = self._forces_end and made >= self._longest[index]
        return FinishReason.LENGTH if forced else FinishReason.STOP

    def _reason_of(self, index: int) -> FinishReason:
        """Why a row without an end token has ended; only `max_time` ends rows without asking here."""
        return self._reasons[index] or FinishReason.TIME

    def take_rows(self) -> list[list[GeneratedTokens]]:
        """What each row has made, where rows were stepped one token at a time."""
        return [
            [GeneratedTokens(tokens, self._made[index], self._reason_of(index))]
            for index, tokens in enumerate(self._tokens)
        ]

    def take_sequences(self, sequences: Sequence[Sequence[int]], padding: int | None) -> list[list[GeneratedTokens]]:
        """What each row has made, from new tokens as the library returns them: rows in order, all of equal length."""
        each = len(sequences) // len(self._rows)
        return [
            [self._trim(index, sequence, padding) for sequence in sequences[index * each : (index + 1) * each]]
            for index in range(len(self._rows))
        ]

    def _trim(self, index: int, sequence: Sequence[int], padding: int | None) -> GeneratedTokens:
        """One sequence up to its first end token, or without its trailing padding."""
        end = next((place for place, token in enumerate(sequence) if token in self._ends), None)
        length = len(sequence) if end is None else end
        while length and sequence[length - 1] == padding:
            length -= 1
        if end is None:
            return GeneratedTokens(sequence[:length], length, self._reason_of(index))
        return GeneratedTokens(sequence[:length], end + 1, self._reason_of_end(index, end + 1))


class OccurrencePenalties(LogitsProcessor):  # type: ignore[misc]
    """Takes from each token's score what it loses for having been made: something each time, and something once.

    Source: https://platform.openai.com/docs/api-reference/chat/create, as vLLM applies them.
    """

    def __init__(self, frequency: float, presence: float) -> None:
        self._frequency = frequency
        self._presence = presence
        self._prompt_width: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows × sequences, vocabulary), less what was made. At the first call all there is, is prompt."""
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        made = input_ids[:, self._prompt_width :]
        counts = torch.zeros_like(scores).scatter_add_(1, made, torch.ones_like(made, dtype=scores.dtype))
        return scores - self._frequency * counts - self._presence * (counts > 0)


def occurrence_penalties(config: Any) -> list[OccurrencePenalties]:
    """Those that a request's settings ask for, if they do."""
    frequency = getattr(config, "frequency_penalty", None) or 0.0
    presence = getattr(config, "presence_penalty", None) or 0.0
    return [OccurrencePenalties(frequency, presence)] if frequency or presence else []


class ForbiddenTokens(LogitsProcessor):  # type: ignore[misc]
    """Forbids some tokens at each step, and others at the first as well.

    The library's own two look for theirs in the whole vocabulary at each step.
    """

    def __init__(self, always: Sequence[int], first: Sequence[int]) -> None:
        """`always`, `first`: ids that never come, and that do not come first. Such as the model does not have are
        none."""
        self._always, self._first = torch.tensor([*always]), torch.tensor([*first])
        self._later: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows × sequences, vocabulary), with the forbidden ones at minus infinity."""
        if self._later is not None:
            return scores.masked_fill(self._later, -torch.inf)
        vocabulary = torch.arange(scores.shape[-1], device=scores.device)
        self._later, first = (torch.isin(vocabulary, each.to(scores.device)) for each in (self._always, self._first))
        return scores.masked_fill(self._later | first, -torch.inf)


def take_forbidden_tokens(config: Any) -> list[ForbiddenTokens]:
    """The tokens that a model's settings forbid, if they do, which they give up. Where the first token is another
    setting's, they keep them."""
    always, first = config.suppress_tokens or (), config.begin_suppress_tokens or ()
    if config.forced_bos_token_id is not None or not (always or first):
        return []
    config.suppress_tokens = config.begin_suppress_tokens = None
    return [ForbiddenTokens(always, first)]


class MinimumLengths(LogitsProcessor):  # type: ignore[misc]
    """Forbids the end tokens in each row until that row has its fewest tokens.

    The library's own setting counts from the padded prompt, which differs between rows of a batch.
    """

    def __init__(self, shortest: Sequence[int], ends: Sequence[int]) -> None:
        """`shortest`: fewest new tokens of each row. `ends`: ids that end a row."""
        self._first_shortest = shortest[0]
        self._shortest = torch.tensor(shortest)
        self._ends = list(ends)
        self._prompt_width: int | None = None

    def allows(self, input_ids: torch.Tensor, token: int) -> bool:
        """Whether `token` may come next in the only row. `input_ids`: (1, prompt and text)."""
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        is_early = input_ids.shape[1] - self._prompt_width < self._first_shortest
        return not (is_early and token in self._ends)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows × sequences, vocabulary), with the end tokens at minus infinity where it is too early."""
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        early = self._shortest > input_ids.shape[1] - self._prompt_width
        if not early.any():
            return scores
        early = early.repeat_interleave(scores.shape[0] // len(early)).to(scores.device)
        scores = scores.clone()
        for end in self._ends:
            scores[early, end] = -torch.inf
        return scores
