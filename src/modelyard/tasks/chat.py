"""chat: answers a conversation. The model's own chat template turns the messages into its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.conversation import (
    ChatAnswer,
    Message,
    mirror,
    refuse_long_conversation,
    spoken_messages,
)
from modelyard.tasks.shared.generation import Prompt, refuse_streamed_list, write
from modelyard.tasks.shared.generation_params import GenerationParams


class ChatInputs(Inputs, frozen=True, kw_only=True):
    """A conversation, or a text that stands for one user message."""

    messages: Annotated[
        Annotated[list[Message], Meta(min_length=1)] | None,
        Meta(description='the conversation so far, oldest first: [{"role": "user", "content": "..."}]'),
    ] = None
    text: Annotated[str | None, Meta(description="one user message, instead of messages")] = None
    tools: Annotated[
        list[dict[str, Any]] | None,
        Meta(description="functions the model may call, as JSON schemas, where its chat template supports them"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when there is nothing to answer."""
        if self.messages is None and self.text is None:
            raise InvalidRequest("messages: missing; accepted: a list of messages, or a text", field="messages")


class ChatParams(GenerationParams, frozen=True, kw_only=True):
    """How to answer."""


ChatOutput = ChatAnswer | list[ChatAnswer]
"""The assistant's message; a list when several sequences were asked for."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each conversation. A stream carries the text of the answer's content only."""
    prompts = [prompt_of(model, call) for call in calls]
    texts = write(model, prompts, left=True, stop_token_ids=turn_ends(model.tokenizer))
    return [answer_of(call, text) for call, text in zip(calls, texts, strict=True)]


def prompt_of(model: Model, call: Call[ChatInputs, ChatParams]) -> Prompt | ModelyardError:
    """The encoded conversation, or why it cannot be answered."""
    field = "messages" if call.inputs.messages is not None else "text"
    try:
        refuse_streamed_list(call)
        prompt = render(model, conversation(call.inputs), call.inputs.tools, field)
        ids = model.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        refuse_long_conversation(len(ids), model, call.params, field)
    except InvalidRequest as error:
        return error
    return Prompt(call, {"input_ids": ids, "attention_mask": [1] * len(ids)})


def conversation(inputs: ChatInputs) -> list[dict[str, Any]]:
    """The messages as a template reads them, contents as plain strings."""
    if inputs.messages is None:
        return [{"role": "user", "content": inputs.text}]
    return spoken_messages(inputs.messages)


def render(model: Model, messages: list[dict[str, Any]], tools: Any, field: str) -> str:
    """The prompt by the model's template. Raises InvalidRequest when it has none, or refuses the conversation."""
    template = model.tokenizer.chat_template
    if not template:
        raise InvalidRequest(
            f"{field}: this model has no chat template, so it cannot take part in a conversation. "
            "Run it as text-generation with `text`, or choose a model that was trained to chat.",
            field=field,
        )
    if tools and "tools" not in str(template):
        raise InvalidRequest(field="tools", got=tools, accepted="none: this model's chat template knows no tools")
    try:
        prompt: str = model.tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template is the model's own program and may raise anything about these messages
        raise InvalidRequest(f"{field}: the model's chat template refuses them: {error}", field=field) from error
    return prompt


_MARK = "modelyard-turn"


@lru_cache(maxsize=1)
def turn_ends(tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer: the end token, and the token that the template puts behind an assistant's message.

    Not every model's generation settings name the latter.
    """
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    turn = [{"role": "user", "content": _MARK}, {"role": "assistant", "content": _MARK}]
    try:
        behind = tokenizer.apply_chat_template(turn, tokenize=False).rpartition(_MARK)[2]
    except Exception:  # noqa: BLE001 - no template, or one that refuses this conversation: `render` says so
        return tuple(ends)
    ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"]
    if ids and ids[0] in tokenizer.added_tokens_decoder:
        ends.append(ids[0])
    return tuple(ends)


def answer_of(call: Call[ChatInputs, ChatParams], text: Any) -> Any:
    """The assistant's message in the form the request had; an error stays what it is."""
    if isinstance(text, list):
        return [answer_of(call, one) for one in text]
    return text if isinstance(text, ModelyardError) else ChatAnswer(content=mirror(text, call.inputs.messages))


def chat_length(call: Call[Any, Any]) -> int:
    """Characters in the conversation."""
    return len(call.inputs.text or "") + len(msgspec.json.encode(call.inputs.messages))


TASK = Task(
    id="chat",
    summary="Answer a conversation.",
    inputs=ChatInputs,
    params=ChatParams,
    output=ChatOutput,
    run=run,
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
    length=chat_length,
    sizes=sizes.conversations,
    has_variants=True,
)
