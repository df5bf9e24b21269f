"""Forms that a text must keep to (a JSON schema, a regular expression, a grammar): which tokens may come next.

By llguidance, which works out the tokens that continue a text in well under a millisecond. Owns one matcher for each
text that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import TextForm
from modelyard.tasks.shared.thinking import find_opened
from modelyard.worker.runtimes.grammar_limits import limits
from modelyard.worker.runtimes.grammar_text import Marks, find_place, first_line, unreadable, write_unread

END_TOKENS = 16
"""Of a prompt, in which the mark lies that opens or closes the thinking."""


class Grammars:
    """The forms that texts of one model may be held to."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """`vocabulary`: of the model's logits."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._read_tokenizer: Any = None
        self._end: int = -1

    def open(self, form: TextForm, ends: frozenset[int], prompt: Sequence[int] = ()) -> GrammarProcessor:
        """What keeps one text to `form`, after which one of the tokens `ends` may come. `prompt`: its ids, which tell
        whether the model is thinking already.

        Raises InvalidRequest for a form that cannot be read, or a model whose tokenizer is not known to the library.
        """
        from llguidance import LLMatcher

        tokenizer = self._tokenizer_of(form, ends)
        grammar = LLMatcher.grammar_from_lark(write_unread(form, self._marks_of(form, ends, prompt)))
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=limits())
        if matcher.is_error():
            raise unreadable(form, matcher.get_error(), find_place(form))
        return GrammarProcessor(matcher, form, self._vocabulary, self._end, sorted(ends))

    def _marks_of(self, form: TextForm, ends: frozenset[int], prompt: Sequence[int]) -> Marks | None:
        """What may come before the form; None: nothing."""
        if form.thinking is None:
            return None
        end = self._tokenizer.decode(list(prompt[-END_TOKENS:]), skip_special_tokens=False)
        thinking = find_opened(form.thinking, end)
        if thinking is None:
            return None
        added = self._tokenizer.get_added_vocab()
        tokens = {mark: added[mark] for mark in form.thinking.tokens if mark in added}
        return Marks(thinking, tokens, ends, self._vocabulary)

    def _tokenizer_of(self, form: TextForm, ends: frozenset[int]) -> Any:
        """The library's reading of the tokenizer, which takes it about 10 µs and 400 bytes for each token: made once.
        Where a text may end it allows one token, `_end`, which stands for all of a request's."""
        if not isinstance(self._tokenizer, PreTrainedTokenizerFast):
            raise InvalidRequest(
                f"{form.field}: this model's tokenizer ({type(self._tokenizer).__name__}) has no fast form, so its "
                "texts cannot be held to a form; leave it out",
                field=form.field,
            )
        if not ends:
            raise InvalidRequest(
                f"{form.field}: this model has no token that ends a text; give params.eos_token_id", field=form.field
            )
        if self._read_tokenizer is None:
            from llguidance.hf import from_tokenizer

            own = self._tokenizer.eos_token_id
            self._end = min(ends) if own is None else int(own)
            self._read_tokenizer = from_tokenizer(self._tokenizer, n_vocab=self._vocabulary, eos_token=self._end)
        return self._read_tokenizer


class GrammarProcessor(LogitsProcessor):  # type: ignore[misc]  # the library is untyped
    """Allows the tokens that continue the texts to one prompt by their form, and no others."""

    def __init__(self, matcher: Any, form: TextForm, vocabulary: int, end: int, ends: Sequence[int]) -> None:
        """`matcher`: before the first token. `end`: the token by which it says that a text may end, for which `ends`
        are allowed."""
        self._matchers: dict[tuple[int, ...], Any] = {(): matcher}
        self._form = form
        self._vocabulary = vocabulary
        self._end = end
        self._ends = list(ends)
        self._prompt_tokens: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows, vocabulary), with all other tokens at minus infinity. `input_ids`: (rows, prompt and text).

        Raises InvalidRequest when none is left for a row.
        """
        if self._prompt_tokens is None:
            self._prompt_tokens = input_ids.shape[1]
        texts = [tuple(row) for row in input_ids[:, self._prompt_tokens :].tolist()]
        self._matchers = {text: self._matcher_of(text, alone=len(texts) == 1) for text in texts}
        allowed = torch.stack([self._allowed(self._matchers[text]) for text in texts]).to(scores.device)
        kept = scores.masked_fill(~allowed, -torch.inf)
        for text, row in zip(texts, kept, strict=True):
            if self._matchers[text].is_error() or not torch.isfinite(row).any():
                self._refuse(self._matchers[text])
        return kept

    def allows(self, input_ids: torch.Tensor, token: int) -> bool:
        """Whether `token` may come next in the only text there is. `input_ids`: (1, prompt and text).

        False as well where none may. As the mask has it: the library writes what a form leaves no choice about in the
        tokens of its own choosing, though it would take others for the same text.
        """
        if self._prompt_tokens is None:
            self._prompt_tokens = input_ids.shape[1]
        text = tuple(input_ids[0, self._prompt_tokens :].tolist())
        matcher = self._matcher_of(text, alone=True)
        self._matchers = {text: matcher}
        if token in self._ends:
            token = self._end
        elif token == self._end:
            return False
        mask = matcher.compute_bitmask()
        return not matcher.is_error() and bool(mask[token >> 3] >> (token & 7) & 1)

    def _matcher_of(self, text: tuple[int, ...], *, alone: bool) -> Any:
        """The matcher behind `text`, made of that behind all but its last token."""
        if text in self._matchers:
            return self._matchers[text]
        before = self._matchers[text[:-1]]
        matcher = before if alone else before.deep_copy()
        matcher.consume_token(text[-1])
        return matcher

    def _allowed(self, matcher: Any) -> torch.Tensor:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little", count=self._vocabulary).view(bool)
        may_end = bool(allowed[self._end])
        allowed[self._end] = False
        allowed[self._ends] = may_end
        return torch.from_numpy(allowed)

    def _refuse(self, matcher: Any) -> None:
        reason = (
            first_line(matcher.get_error())
            or "other settings (suppress_tokens, bad_words_ids, ...) forbid what it allows"
        )
        raise InvalidRequest(f"{self._form.field}: no token can follow: {reason}", field=self._form.field)
