"""From OpenAI's settings of writing to the params of the task that writes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.openai.writing import WritingBody

SEED_MASK = 2**63 - 1
"""Our seeds are not negative."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logprobs": (False,),
    "suffix": ("",),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Fields of OpenAI's API that nothing is done about here, with the values that ask for nothing."""
NAMES = {
    "params.num_return_sequences": "n",
    "params.max_new_tokens": "max_tokens",
    "params.json_schema": "response_format",
}
"""Params of ours → OpenAI's fields, where they differ in more than the prefix."""


def params_of(body: WritingBody, extras: Mapping[str, Any], most_tokens: int | None) -> dict[str, Any]:
    """The task's params. `extras`: fields that are none of OpenAI's; `most_tokens`: to make.

    Raises InvalidRequest for what this server cannot do, by the name of the field.
    """
    params = {name: value for name, value in extras.items() if not is_neutral(name, value)}
    settings = settings_of(body, most_tokens)
    if body.n is not None and body.n > 1:
        if body.temperature == 0:
            raise InvalidRequest(field="n", got=body.n, accepted="1 with temperature 0, as all answers would be equal")
        settings |= {"num_return_sequences": body.n, "do_sample": True}
    params |= {name: value for name, value in settings.items() if value is not None}
    return params


def settings_of(body: WritingBody, most_tokens: int | None) -> dict[str, Any]:
    """OpenAI's own settings as params; None for what is not asked. `most_tokens`: to make."""
    return {
        "max_new_tokens": most_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": body.stop or None,
        "seed": None if body.seed is None else body.seed & SEED_MASK,
        "frequency_penalty": body.frequency_penalty or None,
        "presence_penalty": body.presence_penalty or None,
        "logit_bias": body.logit_bias or None,
    }


def is_neutral(name: str, value: Any) -> bool:
    """Whether a field asks for nothing. Raises InvalidRequest for one that asks for what is not done here."""
    if name not in NEUTRAL:
        return False
    if any(type(each) is type(value) and each == value for each in NEUTRAL[name]):  # 0 is not false here
        return True
    nothing = " or ".join(repr(each) for each in NEUTRAL[name])
    accepted = f"{nothing or 'nothing'}: this server does not do more for it yet"
    raise InvalidRequest(field=name, got=value, accepted=accepted)


def check_stream_options(body: WritingBody) -> None:
    """Raises InvalidRequest for options of a stream where there is none."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(field="stream_options", got="an object", accepted="nothing, unless stream is true")


def wants_usage(body: WritingBody) -> bool:
    """Whether a stream ends with its usage."""
    return body.stream_options is not None and body.stream_options.include_usage
