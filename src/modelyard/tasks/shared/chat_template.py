"""A model's own chat template: from a conversation to the prompt, and to the tokens that end an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model, TextModel, TextPrompt
from modelyard.tasks.shared.call_formats import HELD, find_call_format
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.template_params import template_text, variables_of
from modelyard.tasks.shared.thinking import find_thinking, find_thinking_format
from modelyard.tasks.shared.told_tools import tell_tools
from modelyard.tasks.shared.tool_calls import Offer, names_of

ANSWER = "modelyard-answer"
"""Stands for an assistant's text, to find out what a template puts behind it."""
NO_TOOLS = "none, as this model's chat template knows no tools, unless the answer has to be a call"
Tools = Sequence[Mapping[str, Any]] | None
"""Functions offered, as clients describe them."""


def find_template_holder(model: Model | TextModel) -> Any | None:
    """What holds the model's chat template: its processor, or its tokenizer; None when neither does."""
    parts = (model.processor, model.tokenizer)
    return next((part for part in parts if getattr(part, "chat_template", None)), None)


def render(holder: Any, messages: Sequence[dict[str, Any]], field: str, **more: Any) -> str:
    """The prompt, up to where the assistant's answer begins. `more`: other variables of the template.

    The library keeps the compiled template. Raises InvalidRequest when the template refuses the conversation.
    """
    try:
        prompt: str = holder.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **more)
    except Exception as error:  # a template is the model's own program and may raise anything about these messages
        raise InvalidRequest(f"{field}: the model's chat template refuses them: {error}", field=field) from error
    return prompt


def render_conversation(
    holder: Any, messages: Sequence[dict[str, Any]], field: str, params: Any = None, tools: Tools = None
) -> TextPrompt:
    """The prompt by a template. `params`: those that may set variables of it, and say whether the answer has a form.
    `tools`: what the answer may call; a template that knows none is told by words of ours, where the answer has to be
    a call.

    Raises InvalidRequest when the template refuses the conversation, or knows no tools.
    """
    template = template_text(holder.chat_template)
    if tools and "tools" not in template:
        if params.form is None:
            raise InvalidRequest(field="tools", got=tools, accepted=NO_TOOLS)
        messages = tell_tools(messages, tools)
    variables = {} if params is None else variables_of(template, params)
    if tools:
        variables = {**variables, "tools": tools}
    text = render(holder, messages, field, **variables)
    offer = offer_of(template, tools, params) if tools else None
    return TextPrompt(text, field=field, offer=offer, thinking=find_thinking(template, text))


def offer_of(template: str, tools: Sequence[Mapping[str, Any]], params: GenerationParams) -> Offer:
    """What may be called, and how a model with this template writes that it calls it: as plain JSON where the answer is
    held to a form."""
    return Offer(HELD if params.form is not None else find_call_format(template), names_of(tools))


def render_blocks(
    model: Model, messages: Sequence[dict[str, Any]], field: str, params: Any = None, tools: Tools = None
) -> TextPrompt:
    """The prompt by the model's template; for a model without one, the text of the one message. `params`, `tools`: see
    `render_conversation`.

    Raises InvalidRequest when the template refuses the conversation, or there is none and more than one message.
    """
    holder = find_template_holder(model)
    if holder is not None:
        read = messages if reads_blocks(holder) else [with_marks(message, model.processor) for message in messages]
        return render_conversation(holder, read, field, params, tools)
    if params is not None:
        variables_of("", params)  # there is nothing that could read them
    if tools:
        raise InvalidRequest(field="tools", got=tools, accepted="none, as this model has no chat template")
    if len(messages) > 1:
        raise InvalidRequest(
            f"{field}: this model has no chat template, so it can answer one message only; got {len(messages)}",
            field=field,
        )
    said = "".join(block["text"] for block in messages[0]["content"] if block["type"] == "text")
    return TextPrompt(said, field=field)


@lru_cache(maxsize=8)
def reads_blocks(holder: Any) -> bool:
    """Whether a template reads contents as lists of blocks. One that does not, puts a list into the prompt as it is, or
    fails on it; of one that fails on any such conversation nothing is known, and `render` says so."""

    def rendered(content: Any) -> str | None:
        try:
            return str(holder.apply_chat_template([{"role": "user", "content": content}], tokenize=False))
        except Exception:  # noqa: BLE001 - a template may raise anything
            return None

    text = rendered([{"type": "text", "text": ANSWER}])
    if text is None:
        return rendered(ANSWER) is None
    return not any(f"{ANSWER}{quote}}}" in text for quote in ("'", '"'))


def with_marks(message: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """The message, its blocks put together as a string, with the processor's mark where media belong."""
    parts = [
        block["text"] if block["type"] == "text" else str(getattr(processor, f"{block['type']}_token", ""))
        for block in message["content"]
    ]
    return {**message, "content": "".join(parts)}


def answer_form(model: Model | TextModel, params: GenerationParams) -> dict[str, Any]:
    """The setting `form` of an answer that a model may think before: the form begins behind that. Nothing, where there
    is no form, or the model marks no thinking."""
    holder = find_template_holder(model)
    if params.form is None or holder is None:
        return {}
    marks = find_thinking_format(template_text(holder.chat_template))
    return {} if marks is None else {"form": params.form._replace(thinking=marks)}


def turn_ends(model: Model, *, blocks: bool) -> tuple[int, ...]:
    """Ids that end an answer: the end token, and the token that the template puts behind an assistant's message.

    Not every model's generation settings name the latter. `blocks`: the template reads contents as lists of blocks.
    """
    return find_turn_ends(find_template_holder(model), model.tokenizer, blocks)


@lru_cache(maxsize=8)
def find_turn_ends(holder: Any | None, tokenizer: Any, blocks: bool) -> tuple[int, ...]:
    """`turn_ends`, worked out once for each tokenizer or processor: a model does not change its template."""
    ends = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    if holder is None:
        return tuple(ends)
    content = [{"type": "text", "text": ANSWER}] if blocks else ANSWER
    turn = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    try:
        behind = holder.apply_chat_template(turn, tokenize=False).rpartition(ANSWER)[2]
    except Exception:  # noqa: BLE001 - a template that refuses this conversation: `render` says so
        return tuple(ends)
    ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"]
    if ids and ids[0] in tokenizer.added_tokens_decoder:
        ends.append(int(ids[0]))
    return tuple(ends)
