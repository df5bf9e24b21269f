"""echo: answers with its input. Needs no model, so that what is measured is the serving path alone.

Takes more at once than any load has clients: a replica all of whose slots are held is not idle, and requests that wait
for one are not what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.tasks.base import Call, Inputs, Params, Task


class EchoInputs(Inputs, frozen=True, kw_only=True):
    """A text."""

    text: Annotated[str, Meta(description="what to answer with")]


class EchoParams(Params, frozen=True, kw_only=True):
    """How to answer."""

    times: Annotated[Annotated[int, Meta(ge=1, le=100)], Meta(description="how often the text is repeated")] = 1


EchoOutput = str
"""The text, repeated."""


def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each call with its own text; a stream has a piece for each repetition."""
    return [echo(call) for call in calls]


def echo(call: Call[EchoInputs, EchoParams]) -> str:
    """One answer."""
    if call.emit is not None:
        for _ in range(call.params.times):
            call.emit(call.inputs.text)
    return call.inputs.text * call.params.times


TASK = Task(
    id="echo",
    summary="Answers with its input.",
    inputs=EchoInputs,
    params=EchoParams,
    output=EchoOutput,
    run=run,
    heads=(),
    max_batch=128,
    example={"text": "hello", "params": {"times": 2}},
    streams=True,
)
