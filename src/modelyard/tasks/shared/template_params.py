"""Variables of a chat template that a request may set: whether, and how long, a model thinks before it answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.thinking import find_thinking_format

TemplateVariables = Annotated[
    dict[str, Any] | None,
    Meta(
        description="variables of the model's chat template by their names, of those that it reads: "
        '{"enable_thinking": false}'
    ),
]
ReasoningEffort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None,
    Meta(description="how long the model thinks before it answers, where its chat template reads that; none: not"),
]
ThinkingSwitch = Annotated[
    bool | None,
    Meta(description="whether the model thinks before it answers, where its chat template has a switch for it"),
]
SWITCHES = ("enable_thinking", "thinking")
"""What templates call the variable that says whether the model is to think."""
EFFORT = "reasoning_effort"
OWN = frozenset({
    "messages", "tools", "documents", "conversation", "chat_template", "add_generation_prompt",
    "continue_final_message", "tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict",
    "return_assistant_tokens_mask", "tokenizer_kwargs", "processor_kwargs", "template_kwargs", "bos_token", "eos_token",
    "unk_token", "pad_token", "sep_token", "cls_token", "mask_token", "raise_exception", "strftime_now", "namespace",
})  # fmt: skip
"""What the renderer gives a template itself, or takes as an argument of its own. Source: apply_chat_template of
transformers 5.23."""


class TemplateParams(GenerationParams, frozen=True, kw_only=True):
    """Settings of tasks that render a chat template."""

    chat_template_kwargs: TemplateVariables = None
    reasoning_effort: ReasoningEffort = None
    thinking: ThinkingSwitch = None


def template_text(template: Any) -> str:
    """A chat template as one text; a model may have several by name."""
    return "\n".join(map(str, template.values())) if isinstance(template, Mapping) else str(template)


def variables_of(template: str, params: Any) -> dict[str, Any]:
    """The variables that a request sets. Raises InvalidRequest for one that the template does not read."""
    known = find_variables(template)
    given = dict(params.chat_template_kwargs or {})
    for name, value in given.items():
        if name not in known:
            read = [each for each in (*SWITCHES, EFFORT) if each in known]
            named = f": {', '.join(read)}, ..." if read else ""
            accepted = f"variables that this model's chat template reads{named}"
            raise InvalidRequest(field=f"params.chat_template_kwargs.{name}", got=value, accepted=accepted)
    if params.reasoning_effort is not None:
        given = {**effort_of(template, params.reasoning_effort, known), **given}
    if params.thinking is not None:
        given = {**dict.fromkeys((name for name in SWITCHES if name in known), params.thinking), **given}
    return given


def effort_of(template: str, effort: str, known: frozenset[str]) -> dict[str, Any]:
    """The variables that stand for an effort. Raises InvalidRequest where the template knows none that does."""
    switches = dict.fromkeys((name for name in SWITCHES if name in known), effort != "none")
    if EFFORT in known:
        return {EFFORT: effort, **switches}
    if effort == "none" and (switches or find_thinking_format(template) is None):
        return switches
    accepted = f"{'none, or ' if switches else ''}nothing: this model's chat template knows no efforts"
    raise InvalidRequest(field="params.reasoning_effort", got=effort, accepted=accepted)


@lru_cache(maxsize=16)
def find_variables(template: str) -> frozenset[str]:
    """The names that a template reads and a request may set. Names of attributes and of what is assigned do not count.

    By its tokens, as the library's renderer knows statements that this one's parser does not.
    """
    import jinja2  # what renders templates needs it; the gateway, which knows the tasks as well, does not

    try:
        tokens = [
            (kind, value)
            for _, kind, value in jinja2.Environment(autoescape=True).lex(template)
            if kind not in ("whitespace", "data", "comment")
        ]
    except jinja2.TemplateSyntaxError:
        return frozenset()
    names = set()
    for at, (kind, value) in enumerate(tokens):
        before, after = tokens[at - 1][1] if at else "", tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "name" and before not in (".", "|") and after not in ("=", "("):
            names.add(value)
    return frozenset(names - OWN)
