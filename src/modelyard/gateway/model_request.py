"""One inference as the gateway holds it: who asks, of which model, for what, at what price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.accounts.pricing import Cost
from modelyard.control.routes import Route
from modelyard.gateway.deadline import Deadline
from modelyard.money import decimal
from modelyard.protocol import Usage
from modelyard.records.accounts import Key
from modelyard.records.clusters import Capacity
from modelyard.records.models import ModelCard
from modelyard.records.providers import ProviderKey
from modelyard.tasks.base import Task
from modelyard.tasks.body import Inference
from modelyard.telemetry.spans import Span


class Reading(msgspec.Struct):
    """What is known of a request's prompt while it runs. `tokens`: None until its first piece, where that tells it."""

    tokens: int | None = None


class ModelRequest(msgspec.Struct, frozen=True):
    """A request that has passed every check; its media has been fetched.

    `body`: the unified body as the surface read it. `asked`: see UnifiedBody. `route`: of its account's cluster of the
    model, where there must be one before it is read; None: it is found when the request runs, or made: with
    `capacity`; None: with the default.
    `provider_key`: with which the provider of a closed model is asked. `span`: of its trace, which notes where its time
    goes; None: there is none.
    """

    id: str
    key: Key
    card: ModelCard
    task: Task
    inference: Inference
    body: Mapping[str, Any]
    cost: Cost
    deadline: Deadline
    asked: Any = None
    reading: Reading = msgspec.field(default_factory=Reading)
    route: Route | None = None
    capacity: Capacity | None = None
    provider_key: ProviderKey | None = None
    span: Span | None = None


def meter_headers(cost: Cost, usage: Usage) -> Mapping[str, str]:
    """What an inference cost, as headers; a stream's are sent before it is known, with an empty usage."""
    return {
        "inference-meter": cost.meter,
        "inference-meter-price": cost.per_s,
        "inference-time": decimal(usage.took_us, 6),
        "inference-cost": decimal(cost.cost_nano(usage)),
    }
