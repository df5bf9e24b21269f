"""What travels to the process that asks providers: one request, with the key to ask with."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from modelyard.providers.tasks import ask_elsewhere
from modelyard.tasks.base import Inputs, Params, Task

Text = Annotated[str, Meta(max_length=8192)]


class Asked(Inputs, frozen=True, kw_only=True):
    """A request to a provider.

    `task`, `fields`, `params`: as the task's `body.read` returned them. `provider`: what errors call it; `prefix`: what
    the library does. `url`: where it is asked; None: where the library knows. `within_s`: how long all tries may take.
    `traceparent`: the header by which the provider learns of the trace; empty: there is none.
    """

    task: str
    provider: str
    prefix: str
    model: str
    key: Text
    fields: dict[str, Any]
    params: dict[str, Any]
    within_s: float
    url: str | None = None
    takes_top_k: bool = False
    traceparent: str = ""

    def __repr__(self) -> str:
        """Without the key."""
        return f"Asked({self.task}, {self.provider}/{self.model})"


class NoParams(Params, frozen=True, kw_only=True):
    """All that is asked is in the fields."""


ASK = Task(
    id="ask-provider",
    summary="Ask a provider.",
    inputs=Asked,
    params=NoParams,
    output=Any,
    run=ask_elsewhere,
    heads=(),
    example={},
    streams=True,
)
"""How the process reads a request; which task is asked, the request itself says."""
