"""What a generating task has a model write, apart from how a batch of it turns.

A task declares the prompts of a call and what becomes of the texts written to them: its `Generation`. `Generation.run`
answers whole batches that begin and end together; a scheduler whose rows come and go at token steps reads the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError
from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Call, Run, attempt
from modelyard.tasks.model import Array, GeneratedTokens, Model, TextModel, TextPrompt
from modelyard.tasks.shared.answer_text import AnswerText
from modelyard.tasks.shared.arrays import group_by_shape, stack_rows
from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.encoding import Row, collate
from modelyard.tasks.shared.generated_text import GeneratedText
from modelyard.tasks.shared.generation_params import GenerationParams, options_of
from modelyard.tasks.shared.logprobs import refuse_logprobs
from modelyard.tasks.shared.texts import answer_texts
from modelyard.tasks.shared.thinking import Thinking
from modelyard.tasks.shared.tool_calls import Offer, ToolCall


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row to generate for.

    `row`: its token ids, unpadded. `arrays`: what the model reads besides or instead, by its own argument names
    (`pixel_values`, ...), a batch of one. `shown`: what the answer begins with: the prompt, where it is part of it.
    `context`: the ids that the new ones continue, when their text runs on from the prompt's. `offer`: functions that
    the answer may call. `thinking`: how it marks what is thought before it; None: nothing is.
    """

    row: Row = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    shown: str = ""
    context: Sequence[int] = ()
    offer: Offer | None = None
    thinking: Thinking | None = None

    def count_tokens(self) -> int | None:
        """Tokens in it, padding not among them; None when the model reads none, as of a sound."""
        if self.row:
            return len(self.row["input_ids"])
        if "input_ids" in self.arrays:
            mask = self.arrays.get("attention_mask")
            ids = self.arrays["input_ids"]
            return int(ids.size if mask is None or mask.shape != ids.shape else mask.sum())
        started = self.arrays.get("decoder_input_ids")
        return None if started is None else int(started.size)


@dataclass(frozen=True, slots=True)
class WrittenText:
    """One text that was written. `tokens`: the ids that it was decoded from. `new_tokens`: an end token counts, as it
    was made; what comes after a stop string does not. `tool_calls`: functions that it calls, which are no part of the
    text. `stop`: the stop string that it has ended before, where that is told. `logprobs`: of its tokens, see
    `logprobs.describe_score`; None: not asked for. `thinking`: what was thought before it; `thought_tokens`: how many
    of the new ones; None: the model marks nothing.
    """

    text: str
    new_tokens: int
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    stop: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    thinking: str = ""
    thought_tokens: int | None = None
    tokens: Sequence[int] = ()


Texts = Sequence[WrittenText | list[WrittenText]]
"""What was written to each prompt of a call, in order; a list where several sequences were asked for."""


def plain_texts(texts: Texts) -> list[str | list[str]]:
    """The texts alone."""
    return [[each.text for each in one] if isinstance(one, list) else one.text for one in texts]


def answer_plain_texts(call: Call[Any, Any], texts: Texts) -> Any:
    """The texts in the form of the request's text: one, or a list."""
    return answer_texts(call, plain_texts(texts))


def each_sequence(texts: Texts) -> list[str]:
    """The sequences that were written to a call of one prompt."""
    (written,) = plain_texts(texts)
    return [written] if isinstance(written, str) else written


def no_options(_model: Model, _params: Any) -> Mapping[str, Any]:
    """No settings but the request's."""
    return {}


def generates(_what: Any) -> bool:
    """Every model of the task generates, and whatever is asked."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a task has its model write.

    `prompts`: the rows of one call, one for each text of its answer. Raises InvalidRequest. `answer`: the task's output
    from the texts written to them. `left`: prompts are padded on the left, as models that continue them want it.
    `options`: settings that win over the request's, for a batch whose calls share `params`. Raises InvalidRequest.
    `reads_ids`: prompts are token ids and nothing else, and every model of the task generates, so that a scheduler of
    tokens can answer it. `applies`: whether this model generates; `writes_alone`: whether a call with such params is
    answered by what is generated, and no more; what either is False of is answered by `otherwise`. `texts`: the prompts
    of a call as texts, for models that read those; None: such a model does not do this task. Raises InvalidRequest.
    """

    prompts: Callable[[Model, Call[Any, Any]], Sequence[Prompt]]
    answer: Callable[[Call[Any, Any], Texts], Any]
    left: bool = True
    options: Callable[[Model, Any], Mapping[str, Any]] = no_options
    reads_ids: bool = False
    applies: Callable[[Model], bool] = generates
    writes_alone: Callable[[Any], bool] = generates
    otherwise: Run | None = None
    texts: Callable[[TextModel, Call[Any, Any]], Sequence[TextPrompt]] | None = None

    def texts_of(self, model: TextModel, call: Call[Any, Any]) -> Sequence[TextPrompt]:
        """`texts`, where there are any. Raises InferenceFailed where there are not."""
        if self.texts is None:
            raise InferenceFailed("This task cannot be done by a model that reads texts only.")
        refuse_logprobs(call.params)
        return self.texts(model, call)

    def run(self, model: Model, calls: Sequence[Call[Any, Any]]) -> Sequence[Any | ModelyardError]:
        """Answers a batch: an Outcome for each call that was generated for. All calls have equal params."""
        if self.otherwise is not None and not (self.applies(model) and self.writes_alone(calls[0].params)):
            return self.otherwise(model, calls)
        prompts = [attempt(self.prompts, model, call) for call in calls]
        rows = [
            (call, prompt)
            for call, own in zip(calls, prompts, strict=True)
            if not isinstance(own, ModelyardError)
            for prompt in own
        ]
        try:
            written = iter(write(self, model, rows))
        except InvalidRequest as error:  # about the params, which all of them share
            return [own if isinstance(own, ModelyardError) else error for own in prompts]
        return [
            own if isinstance(own, ModelyardError) else self._outcome(call, own, [next(written) for _ in own])
            for call, own in zip(calls, prompts, strict=True)
        ]

    def _outcome(
        self, call: Call[Any, Any], prompts: Sequence[Prompt], written: Sequence[Sequence[WrittenText]]
    ) -> Outcome:
        counts = [count for prompt in prompts if (count := prompt.count_tokens()) is not None]
        return outcome_of(self, call, written, counts)


def outcome_of(
    generation: Generation,
    call: Call[Any, Any],
    written: Sequence[Sequence[WrittenText]],
    prompt_tokens: Sequence[int],
    cached_tokens: int = 0,
) -> Outcome:
    """The answer to a call from what was written to each of its prompts, and what it took. `cached_tokens`: of the
    prompts', those that were not read."""
    several = asks_for_several(call.params)
    texts = [list(row) if several else row[0] for row in written]
    usage = usage_of([one for row in written for one in row], prompt_tokens, cached_tokens)
    told = [one.logprobs for row in written for one in row if one.logprobs is not None]
    if len(told) > 1:  # each token says which of the texts it is of
        told = [[{"index": index, **token} for index, tokens in enumerate(told) for token in tokens]]
    return Outcome(generation.answer(call, texts), usage, logprobs=told[0] if told else None)


def usage_of(written: Sequence[WrittenText], prompt_tokens: Sequence[int], cached_tokens: int = 0) -> Usage:
    """What a call took: the tokens of all its texts together, and why they ended."""
    thought = [one.thought_tokens for one in written if one.thought_tokens is not None]
    return Usage(
        prompt_tokens=sum(prompt_tokens) if prompt_tokens else None,
        new_tokens=sum(one.new_tokens for one in written),
        finish_reason=join_reasons([one.finish_reason for one in written]),
        finish_reasons=[one.finish_reason for one in written] if len(written) > 1 else None,
        cached_tokens=cached_tokens or None,
        stop_sequence=written[0].stop if len(written) == 1 else None,
        reasoning_tokens=sum(thought) if thought else None,
    )


def join_reasons(reasons: Sequence[FinishReason]) -> FinishReason:
    """Why several texts ended, in one word: STOP when all have come to their own end."""
    order = (FinishReason.CANCELLED, FinishReason.LENGTH, FinishReason.TIME)
    return next((reason for reason in order if reason in reasons), FinishReason.STOP)


CallAndPrompt = tuple[Call[Any, Any], Prompt]


def asks_for_several(params: GenerationParams) -> bool:
    """Whether each prompt is answered by several sequences."""
    return (params.num_return_sequences or 1) > 1


def write(generation: Generation, model: Model, rows: Sequence[CallAndPrompt]) -> list[list[WrittenText]]:
    """What is written to each row, in order: one text, or as many as its params ask for. Rows share a batch when their
    arrays have the same shapes. Raises InvalidRequest about the params.
    """
    if not rows:
        return []
    params: GenerationParams = rows[0][0].params
    refuse_logprobs(params)
    options = {**options_of(params, model), **generation.options(model, params)}
    written: dict[int, list[WrittenText]] = {}
    for group in group_by_shape([prompt.arrays for _, prompt in rows]):
        together = write_together(model, [rows[index] for index in group], options, left=generation.left)
        written.update(zip(group, together, strict=True))
    return [written[index] for index in range(len(rows))]


def write_together(
    model: Model, rows: Sequence[CallAndPrompt], options: Mapping[str, Any], *, left: bool
) -> list[list[WrittenText]]:
    """`write` for rows that fit into one batch."""
    several = asks_for_several(rows[0][0].params)
    texts = [open_text(model, call, prompt, streams=not several) for call, prompt in rows]

    def on_tokens(row: int, tokens: Sequence[int]) -> bool:
        return texts[row].take(tokens) or rows[row][0].cancelled()

    prompts = [prompt for _, prompt in rows]
    tokens = collate(model, [prompt.row for prompt in prompts], left=left) if prompts[0].row else {}
    made = model.generate({**tokens, **stack_rows([prompt.arrays for prompt in prompts])}, options, on_tokens)
    if several:
        return [[read_sequence(model, *row, one) for one in own] for row, own in zip(rows, made, strict=True)]
    return [[finish_text(text, prompt, own[0])] for text, prompt, own in zip(texts, prompts, made, strict=True)]


def open_text(model: Model, call: Call[Any, Any], prompt: Prompt, *, streams: bool) -> GeneratedText:
    """The text written to `prompt`, before its first token; a stream gets the shown text at once."""
    if streams:
        show_prompt(call, prompt)
    return begin_text(model, call, prompt, streams=streams)


def show_prompt(call: Call[Any, Any], prompt: Prompt) -> None:
    """Sends what the answer begins with to whoever streams, and tells how many tokens are read for it."""
    if call.reading is not None and (tokens := prompt.count_tokens()) is not None:
        call.reading(tokens)
    if call.emit is not None and prompt.shown:
        call.emit(prompt.shown)


def begin_text(model: Model, call: Call[Any, Any], prompt: Prompt, *, streams: bool) -> GeneratedText:
    """The text written to `prompt`, before its first token."""
    detokenizer = Detokenizer(model.tokenizer, prompt.context, kept_tokens(prompt))
    return GeneratedText(call, detokenizer, streams=streams, answer=open_answer(prompt))


def open_answer(prompt: Prompt | TextPrompt) -> AnswerText | None:
    """What tells an answer apart, before its first piece; None: it is nothing but content."""
    if prompt.offer is None and prompt.thinking is None:
        return None
    return AnswerText(prompt.offer, prompt.thinking)


def kept_tokens(prompt: Prompt | TextPrompt) -> tuple[str, ...]:
    """Special tokens that are part of the text of an answer, until it is told apart."""
    called = () if prompt.offer is None else prompt.offer.format.tokens
    thought = () if prompt.thinking is None else prompt.thinking.format.tokens
    return (*called, *thought)


def finish_text(text: GeneratedText, prompt: Prompt, made: GeneratedTokens) -> WrittenText:
    """The text, after the last token. Tokens that it has not seen step by step are added first."""
    text.take(made.tokens[text.tokens :])
    reason = FinishReason.STOP if text.stopped else made.finish_reason
    answer = text.finish(is_whole=reason is FinishReason.STOP)
    tokens = text.tokens if text.stopped else made.new_tokens
    thought = None if prompt.thinking is None else min(text.thought_tokens, tokens)
    return WrittenText(
        prompt.shown + answer.content,
        tokens,
        reason,
        answer.tool_calls,
        text.stop,
        thinking=answer.thinking,
        thought_tokens=thought,
        tokens=made.tokens[: text.tokens],
    )


def read_sequence(model: Model, call: Call[Any, Any], prompt: Prompt, made: GeneratedTokens) -> WrittenText:
    """The text of one finished sequence of several."""
    return finish_text(open_text(model, call, prompt, streams=False), prompt, made)
