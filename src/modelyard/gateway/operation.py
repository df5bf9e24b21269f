"""What one call of the API is: method, path, handler and the words on it. Routes and OpenAPI are made of the same list.

Holds no call itself: each surface lists its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from modelyard.errors import ModelyardError
from modelyard.gateway.shapes.base import Error, ErrorBody

CONTROL_BODY_BYTES = 64 * 1024
"""What a call's body may have that says nothing else: the largest that has a use, names in every field, is a tenth."""

CHANGE_COST = 5.0
"""What a change of a cluster takes, as a multiple of a small read. Measured: 5 ms."""

Denied = Callable[[Any, ModelyardError], Awaitable[None]]
"""Is told of a request that was not let in, and why."""

Handler = Callable[..., Awaitable[Any]]
"""Takes the request, and the key unless the operation is public; returns the answer's Struct, or a whole Response."""

PATH_PARAMETERS = {
    "org": "The model's organisation or user.",
    "model": "The model's name.",
    "provider": "The provider of a closed model.",
    "alias": "An alias of your account.",
    "account": "An account's name, or its id.",
    "key": "A key's id, or its first characters as lists show them.",
    "node": "A machine's name, as the list of them shows it.",
    "task": "The task's name.",
    "response_id": "From a response that was stored.",
    "request_id": "From the header x-request-id of an inference.",
    "name": "From the URL that an inference answered with.",
}
"""What the parts of paths mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One path and what may be done there.

    `handler`: None for an inference, which is served beside the router. `answer`: the type of its JSON, None for none;
    `body`, `query`: what it reads; `max_body_bytes`: larger bodies get 413, whether it reads one or not; an inference's
    limit is its surface's. `cost`: what it counts for its account's budget of calls beside the size of its answer, in
    small reads; None: one for a read, CHANGE_COST for a change; 0: it is not counted. `public`: asks for no key.
    `error`: the shape of its errors; `failures`: statuses of its own, beside those that every call may have.
    `body_types`, `answer_types`: the schemas of other content types than JSON that it reads, and that it answers with;
    `statuses`: other statuses than `status` with which it sends the latter. `headers`: of its answer, described;
    `request_headers`: those it reads beside the key.
    `on_denied`: what is done about a request without a valid key, or that only the operator may make.
    `examples`: bodies by name, each with a summary. `tasks`: of an inference, those whose models it asks; none: of any.
    """

    path: str
    summary: str
    tag: str
    answer: Any
    handler: Handler | None = None
    methods: tuple[str, ...] = ("GET",)
    status: int = 200
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    max_body_bytes: int = CONTROL_BODY_BYTES
    cost: float | None = None
    public: bool = False
    error: type[ErrorBody] = Error
    failures: Mapping[int, str] = field(default_factory=dict)
    body_types: Mapping[str, Any] = field(default_factory=dict)
    answer_types: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_headers: Mapping[str, Any] = field(default_factory=dict)
    on_denied: Denied | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return "GET" in self.methods

    @property
    def counts(self) -> float:
        """What it counts for its account's budget of calls."""
        if self.cost is not None:
            return self.cost
        return 1.0 if self.is_read else CHANGE_COST
