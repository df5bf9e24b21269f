"""Calls whose texts are written row by row: which prompts one has, what was written to them, when it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.protocol import FinishReason
from modelyard.tasks.model import GeneratedTokens, Model
from modelyard.tasks.shared.generated_text import GeneratedText
from modelyard.tasks.shared.generation import (
    Generation,
    Prompt,
    WrittenText,
    begin_text,
    finish_text,
    outcome_of,
    show_prompt,
)
from modelyard.tasks.shared.logprobs import count_alternatives, describe_score
from modelyard.tasks.token_model import Chosen, Rows, TokenModel, TokenPlan, TokenRow, TokenScore
from modelyard.worker.schedulers.batches import Pending


@dataclass(eq=False, slots=True)
class Text:
    """What is written by one row, number `place` of its prompt's. `longest`: most tokens."""

    place: int
    text: GeneratedText
    longest: int
    tokens: int = 0
    scores: list[tuple[int, TokenScore]] = field(default_factory=list)

    def take(self, token: int, score: TokenScore | None, plan: TokenPlan) -> FinishReason | None:
        """Adds a token; why the text ends with it, if it does. Raises what decoding raises."""
        self.tokens += 1
        if score is not None and token not in plan.ends:
            self.scores.append((token, score))
        at_length = self.tokens >= self.longest
        if token in plan.ends:
            return FinishReason.LENGTH if plan.forces_end and at_length else FinishReason.STOP
        if self.text.take((token,)):
            return FinishReason.STOP
        return FinishReason.LENGTH if at_length else None


@dataclass(eq=False, slots=True)
class PromptTexts:
    """One prompt, number `index` of its call's, and by row the texts that are not written to their end. `is_alone`:
    nothing runs beside it. `ends_at`: by the clock that it was begun with."""

    call: WrittenCall
    index: int
    prompt: Prompt
    texts: dict[TokenRow, Text]
    is_begun: bool = False
    is_alone: bool = False
    ends_at: float | None = None

    def begin(self, now: float) -> None:
        """Its first piece is going to be read, for the first time or again; a stream gets the shown text now."""
        if not self.is_begun:
            self.is_begun = self.call.is_begun = True
            most_s = self.call.plan.max_time_s
            self.ends_at = None if most_s is None else now + most_s
            if self.call.plan.sequences == 1:
                show_prompt(self.call.pending.call, self.prompt)

    def rows(self) -> Rows:
        """Those that are written."""
        return list(self.texts)

    def streams(self) -> bool:
        """Whether somebody sees its text while it is written."""
        return self.call.pending.call.emit is not None and self.call.plan.sequences == 1

    def unread(self) -> int:
        """Tokens that are yet to be read."""
        return next(iter(self.texts)).unread

    def take(self, chosen: Chosen, now: float) -> bool:
        """Adds a token to a row's text; whether that was its last."""
        row = chosen.row
        text = self.texts[row]
        reason = text.take(chosen.token, chosen.score, self.call.plan)
        if reason is None and self.call.pending.ends():
            reason = FinishReason.CANCELLED
        if reason is None and self.ends_at is not None and now >= self.ends_at:
            reason = FinishReason.TIME
        if reason is None:
            return False
        del self.texts[row]
        made = GeneratedTokens((), text.tokens, reason)
        self.call.spared[self.index] = row.spared
        written = finish_text(text.text, self.prompt, made)
        if count_alternatives(self.call.pending.call.params) is not None:
            tokenizer = self.call.tokenizer
            said = text.scores[text.text.thought_tokens :]
            scores = [describe_score(tokenizer, token, score) for token, score in said]
            written = replace(written, logprobs=scores)
        self.call.note_written(self.index, text.place, written)
        return True


@dataclass(eq=False, slots=True)
class WrittenCall:
    """A call and what was written to its prompts so far, by (prompt, place). `spared`: tokens of each prompt that were
    not read for it. `is_begun`: the model has read of it."""

    pending: Pending
    generation: Generation
    plan: TokenPlan
    prompts: tuple[Prompt, ...] = ()
    tokenizer: Any = None
    written: dict[tuple[int, int], WrittenText] = field(default_factory=dict)
    spared: dict[int, int] = field(default_factory=dict)
    is_begun: bool = False

    def ends(self) -> bool:
        """Whether nothing more is to be written: somebody has cancelled it, who is told at once, or it has failed."""
        return self.pending.ends() or self.pending.answered

    def note_written(self, index: int, place: int, text: WrittenText) -> None:
        """Keeps a text; the last one answers the call."""
        self.written[index, place] = text
        each = self.plan.sequences
        if len(self.written) == each * len(self.prompts):
            rows = [[self.written[at, place] for place in range(each)] for at in range(len(self.prompts))]
            counts = [count for prompt in self.prompts if (count := prompt.count_tokens()) is not None]
            spared = sum(self.spared.values())
            self.pending.answer(outcome_of(self.generation, self.pending.call, rows, counts, spared))


def open_call(pending: Pending, generation: Generation, plan: TokenPlan, rows_of: TokenModel) -> list[PromptTexts]:
    """The prompts of a call. Raises what they make wrong."""
    model: Model = pending.model
    call = WrittenCall(pending, generation, plan, tuple(generation.prompts(model, pending.call)), model.tokenizer)
    return [open_prompt(call, index, prompt, model, rows_of) for index, prompt in enumerate(call.prompts)]


def open_prompt(call: WrittenCall, index: int, prompt: Prompt, model: Model, rows_of: TokenModel) -> PromptTexts:
    """The rows of one prompt, before any of it was read."""
    ids = prompt.row["input_ids"]
    longest = call.plan.limit_tokens(len(ids))
    streams = call.plan.sequences == 1
    rows = rows_of.open_rows(ids, call.plan, model)
    texts = {
        row: Text(place, begin_text(model, call.pending.call, prompt, streams=streams), longest)
        for place, row in enumerate(rows)
    }
    return PromptTexts(call, index, prompt, texts)


def answer_all(prompts: Iterable[PromptTexts], error: Callable[[], ModelyardError]) -> None:
    """Answers the calls of prompts that were not answered yet."""
    for prompt in prompts:
        prompt.call.pending.answer(error())
