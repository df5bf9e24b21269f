"""chat: answers a conversation. The model's own chat template turns the messages into its prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.model import Model, TextModel, TextPrompt
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.chat_template import answer_form, find_template_holder, render_conversation, turn_ends
from modelyard.tasks.shared.conversation import (
    ChatOutput,
    Messages,
    answer_conversation,
    conversation_length,
    read_conversation,
)
from modelyard.tasks.shared.generation import Generation, Prompt
from modelyard.tasks.shared.logprobs import LogprobParams
from modelyard.tasks.shared.prompts import refuse_long_conversation, refuse_streamed_list
from modelyard.tasks.shared.template_params import ReasoningEffort, TemplateVariables, ThinkingSwitch
from modelyard.tasks.shared.tool_calls import OfferedTools
from modelyard.tasks.text_generation import prompt_of as continued_prompt
from modelyard.tasks.text_generation import start_text


class ChatInputs(Inputs, frozen=True, kw_only=True):
    """A conversation, or a text that stands for one user message."""

    messages: Annotated[
        Messages | None,
        Meta(description='the conversation so far, oldest first: [{"role": "user", "content": "..."}]'),
    ] = None
    text: Annotated[str | None, Meta(description="one user message, instead of messages")] = None
    tools: OfferedTools = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when there is nothing to answer."""
        if self.messages is None and self.text is None:
            raise InvalidRequest("messages: missing; accepted: a list of messages, or a text", field="messages")


class ChatParams(LogprobParams, frozen=True, kw_only=True):
    """How to answer."""

    chat_template_kwargs: TemplateVariables = None
    reasoning_effort: ReasoningEffort = None
    thinking: ThinkingSwitch = None

    use_template: Annotated[
        bool,
        Meta(description="false: `text` is continued as it stands, without the model's chat template around it"),
    ] = True


def prompts(model: Model, call: Call[ChatInputs, ChatParams]) -> list[Prompt]:
    """The encoded conversation. Raises InvalidRequest when it cannot be answered."""
    if not call.params.use_template:
        return [continued_prompt(model, call.params, bare_text(call), shown="")]
    prompt = prompt_of(model, call)
    ids = model.tokenizer(prompt.text, add_special_tokens=False, verbose=False)["input_ids"]
    refuse_long_conversation(len(ids), model, call.params, prompt.field)
    row = {"input_ids": ids, "attention_mask": [1] * len(ids)}
    return [Prompt(row, offer=prompt.offer, thinking=prompt.thinking)]


def texts(model: TextModel, call: Call[ChatInputs, ChatParams]) -> list[TextPrompt]:
    """The conversation as the model reads it. Raises InvalidRequest when it cannot be answered."""
    if not call.params.use_template:
        return [TextPrompt(bare_text(call) or start_text(model))]
    prompt = prompt_of(model, call)
    if not prompt.text:
        raise InvalidRequest(field=prompt.field, got="", accepted="a conversation that is not empty")
    return [prompt]


def bare_text(call: Call[ChatInputs, ChatParams]) -> str:
    """The text to continue as it stands. Raises InvalidRequest for a conversation, which is nothing without a form."""
    refuse_streamed_list(call)
    if call.inputs.text is None or call.inputs.messages is not None:
        raise InvalidRequest(field="params.use_template", got=False, accepted="true, unless `text` alone is given")
    return call.inputs.text


def prompt_of(model: Model | TextModel, call: Call[ChatInputs, ChatParams]) -> TextPrompt:
    """The conversation in the form of the model's own template. Raises InvalidRequest when there is none, or it takes
    no such conversation."""
    field = "messages" if call.inputs.messages is not None else "text"
    refuse_streamed_list(call)
    holder = find_template_holder(model)
    conversation = read_conversation(model, call.inputs)
    if holder is None:
        raise InvalidRequest(
            f"{field}: this model has no chat template, so it cannot take part in a conversation. "
            "Run it as text-generation with `text`, or choose a model that was trained to chat.",
            field=field,
        )
    return render_conversation(holder, conversation.messages, field, call.params, call.inputs.tools)


def options(model: Model, params: ChatParams) -> Mapping[str, Any]:
    """What ends the assistant's turn, and that a form is the answer's, not the thinking's."""
    form = answer_form(model, params) if params.use_template else {}
    return {"stop_token_ids": turn_ends(model, blocks=False), **form}


GENERATION = Generation(prompts=prompts, answer=answer_conversation, options=options, texts=texts, reads_ids=True)
"""A stream carries the text of the answer's content only."""

TASK = Task(
    id="chat",
    summary="Answer a conversation.",
    inputs=ChatInputs,
    params=ChatParams,
    output=ChatOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("causal-lm",),
    example={
        "messages": [
            {"role": "system", "content": "You are a friendly assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
    },
    streams=True,
    list_wildcard="messages",
    max_batch=16,
    length=conversation_length,
    sizes=sizes.conversations,
    has_variants=True,
)
