"""text-generation: continues a text. The answer is the prompt's text with the continuation behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation import Prompt, refuse_long_prompt, refuse_streamed_list, write
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.texts import TextInputs, answer_each, text_length


class TextGenerationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to continue, or several."""


class TextGenerationParams(GenerationParams, frozen=True, kw_only=True):
    """How to continue it."""


TextGenerationOutput = str | list[str | list[str]]
"""Prompt and continuation; a list for several texts or several sequences, a list of lists for both."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Continues each text. A stream carries the prompt first, then the continuation as it is made."""
    return answer_each(calls, lambda rows: write(model, [prompt_of(model, *row) for row in rows], left=True))


def prompt_of(model: Model, call: Call[Any, GenerationParams], text: str) -> Prompt | ModelyardError:
    """The encoded text, or why it cannot be continued."""
    try:
        refuse_streamed_list(call)
        ids = model.tokenizer(text, verbose=False)["input_ids"] or start_of(model)
        refuse_long_prompt(len(ids), model, call.params, "text")
    except InvalidRequest as error:
        return error
    return Prompt(call, {"input_ids": ids, "attention_mask": [1] * len(ids)}, shown=text, context=ids)


def start_of(model: Model) -> list[int]:
    """What an empty text starts from. Raises InvalidRequest when the model has nothing of the kind."""
    token = model.tokenizer.bos_token_id
    if token is None:
        raise InvalidRequest(field="text", got="", accepted="a text that is not empty: this model has no start token")
    return [token]


TASK = Task(
    id="text-generation",
    summary="Continue a text.",
    inputs=TextGenerationInputs,
    params=TextGenerationParams,
    output=TextGenerationOutput,
    run=run,
    heads=("causal-lm",),
    example={"text": "Once upon a time there was a", "params": {"max_new_tokens": 40}},
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_continue,
    pipeline_key="generated_text",
    has_variants=True,
)
