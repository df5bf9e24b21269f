"""text-generation: continues a text. The answer is the prompt's text with the continuation behind it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model, TextModel, TextPrompt
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.generation import Generation, Prompt, answer_plain_texts
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.logprobs import LogprobParams
from modelyard.tasks.shared.prompts import refuse_long_prompt, refuse_streamed_list
from modelyard.tasks.shared.texts import TextInputs, text_length, texts_of


class TextGenerationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to continue, or several."""


class TextGenerationParams(LogprobParams, frozen=True, kw_only=True):
    """How to continue it."""

    return_full_text: Annotated[
        bool,
        Meta(description="true: the answer begins with the text that was sent; false: it is the continuation alone"),
    ] = True


TextGenerationOutput = str | list[str | list[str]]
"""Prompt and continuation; a list for several texts or several sequences, a list of lists for both."""


def prompts(model: Model, call: Call[TextGenerationInputs, TextGenerationParams]) -> list[Prompt]:
    """The encoded texts, each shown in front of its continuation. Raises InvalidRequest."""
    refuse_streamed_list(call)
    shows = call.params.return_full_text
    return [prompt_of(model, call.params, text, shown=text if shows else "") for text in texts_of(call)]


def texts(model: TextModel, call: Call[TextGenerationInputs, TextGenerationParams]) -> list[TextPrompt]:
    """The texts, each shown in front of its continuation; an empty one starts from the model's start token. Raises
    InvalidRequest."""
    refuse_streamed_list(call)
    shows = call.params.return_full_text
    return [TextPrompt(text or start_text(model), shown=text if shows else "") for text in texts_of(call)]


def start_text(model: TextModel) -> str:
    """What an empty text starts from. Raises InvalidRequest when the model has nothing of the kind."""
    if model.tokenizer.bos_token is None:
        raise no_start()
    return str(model.tokenizer.bos_token)


def prompt_of(model: Model, params: GenerationParams, text: str, shown: str) -> Prompt:
    """One encoded text, and what the answer begins with. Raises InvalidRequest when it cannot be continued."""
    ids = model.tokenizer(text, verbose=False)["input_ids"] or start_of(model)
    refuse_long_prompt(len(ids), model, params, "text")
    return Prompt({"input_ids": ids, "attention_mask": [1] * len(ids)}, shown=shown, context=ids)


def start_of(model: Model) -> list[int]:
    """What an empty text starts from. Raises InvalidRequest when the model has nothing of the kind."""
    token = model.tokenizer.bos_token_id
    if token is None:
        raise no_start()
    return [token]


def no_start() -> InvalidRequest:
    """For a text that is empty, of a model that needs something to start from."""
    return InvalidRequest(field="text", got="", accepted="a text that is not empty: this model has no start token")


GENERATION = Generation(prompts=prompts, answer=answer_plain_texts, texts=texts, reads_ids=True)
"""A stream carries the prompt first, then the continuation as it is made."""

TASK = Task(
    id="text-generation",
    summary="Continue a text.",
    inputs=TextGenerationInputs,
    params=TextGenerationParams,
    output=TextGenerationOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("causal-lm",),
    example={"text": "Once upon a time there was a", "params": {"max_new_tokens": 40}},
    streams=True,
    max_batch=16,
    length=text_length,
    sizes=sizes.texts_to_continue,
    pipeline_key="generated_text",
    has_variants=True,
)
