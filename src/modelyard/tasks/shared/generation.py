"""Prompts, and the text that a model writes to them. Shared by every task that generates text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.arrays import group_by_shape, stack_rows
from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.encoding import Row, collate
from modelyard.tasks.shared.generated_text import GeneratedText
from modelyard.tasks.shared.generation_params import GenerationParams, options_of


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row to generate for. `shown`: text that the answer begins with (the prompt itself, where it is part of it).

    `context`: the ids that the new ones continue, when their text runs on from the prompt's. `media`: what the model
    reads besides, by its own argument names (`pixel_values`, ...); then `row` may be empty.
    """

    call: Call[Any, Any]
    row: Row
    shown: str = ""
    context: Sequence[int] = ()
    media: Mapping[str, Array] = field(default_factory=dict)


def write(
    model: Model, prompts: Sequence[Prompt | ModelyardError], *, left: bool, **extra: Any
) -> list[str | list[str] | ModelyardError]:
    """Generates for all prompts in one batch: each row's text, or texts when several were asked for.

    All prompts' calls have equal params (their batch key). `left`: pad on the left, as causal models want it. `extra`
    options win over the params'. A ModelyardError among the prompts stays in its place.
    """
    runnable = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    texts: Sequence[str | list[str] | ModelyardError] = []
    try:
        if runnable:
            texts = write_all(model, runnable, left=left, **extra)
    except InvalidRequest as error:  # about the params, which all of them share
        texts = [error] * len(runnable)
    written = iter(texts)
    return [next(written) if isinstance(prompt, Prompt) else prompt for prompt in prompts]


def write_all(model: Model, prompts: Sequence[Prompt], *, left: bool, **extra: Any) -> list[str | list[str]]:
    """`write` for prompts of which none has failed. Prompts share a batch when their media have the same shapes."""
    texts: dict[int, str | list[str]] = {}
    for group in group_by_shape([prompt.media for prompt in prompts]):
        written = write_together(model, [prompts[index] for index in group], left=left, **extra)
        texts.update(zip(group, written, strict=True))
    return [texts[index] for index in range(len(prompts))]


def write_together(model: Model, prompts: Sequence[Prompt], *, left: bool, **extra: Any) -> list[str | list[str]]:
    """`write_all` for prompts that fit into one batch."""
    params: GenerationParams = prompts[0].call.params
    several = (params.num_return_sequences or 1) > 1
    answers = [open_answer(model, prompt, streams=not several) for prompt in prompts]

    def on_tokens(row: int, tokens: Sequence[int]) -> bool:
        return answers[row].take(tokens) or prompts[row].call.cancelled()

    tokens = collate(model, [prompt.row for prompt in prompts], left=left) if prompts[0].row else {}
    rows = model.generate(
        {**tokens, **stack_rows([prompt.media for prompt in prompts])},
        {**options_of(params, model), **extra},
        on_tokens,
    )
    if several:
        return [
            [read_sequence(model, prompt, one.tokens) for one in row] for prompt, row in zip(prompts, rows, strict=True)
        ]
    for answer, row in zip(answers, rows, strict=True):
        answer.take(row[0].tokens[answer.tokens :])
    return [prompt.shown + answer.finish() for prompt, answer in zip(prompts, answers, strict=True)]


def open_answer(model: Model, prompt: Prompt, *, streams: bool) -> GeneratedText:
    """An empty answer to `prompt`; a stream gets the shown text at once."""
    if streams and prompt.call.emit is not None and prompt.shown:
        prompt.call.emit(prompt.shown)
    return GeneratedText(prompt.call, Detokenizer(model.tokenizer, prompt.context), streams=streams)


def read_sequence(model: Model, prompt: Prompt, ids: Sequence[int]) -> str:
    """The text of one finished sequence of several."""
    answer = open_answer(model, prompt, streams=False)
    answer.take(ids)
    return prompt.shown + answer.finish()


def refuse_streamed_list(call: Call[Any, Any]) -> None:
    """Raises InvalidRequest when a stream would have to carry more than one text."""
    if call.emit is None:
        return
    if (call.params.num_return_sequences or 1) > 1:
        raise InvalidRequest(
            field="params.num_return_sequences", got=call.params.num_return_sequences, accepted="1 in a stream"
        )
    if isinstance(getattr(call.inputs, "text", None), list):
        raise InvalidRequest(field="text", got=call.inputs.text, accepted="one text in a stream, not a list")


def refuse_long_prompt(tokens: int, model: Model, params: GenerationParams, field: str) -> None:
    """Raises InvalidRequest when a causal model has no room for one token after a prompt of `tokens` tokens."""
    if model.max_length is not None and tokens >= model.max_length:
        raise InvalidRequest(
            f"{field}: got {tokens} tokens; accepted: fewer than {model.max_length}, this model's context, "
            f"which holds the prompt and the answer",
            field=field,
            tokens=tokens,
            limit=model.max_length,
        )
    if params.max_new_tokens is None and params.max_length is not None and tokens >= params.max_length:
        raise InvalidRequest(
            field="params.max_length",
            got=params.max_length,
            accepted=f"more than the {tokens} tokens of {field}, which count; or give max_new_tokens",
        )
