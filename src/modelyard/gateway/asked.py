"""From an HTTP request to a checked inference, the same for every surface: who asks, of which model, for what.

Owns the order of the checks: key, rate, funds, requests at once, body, model, task, fields, media. Nothing is queued
before all of them hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from modelyard.accounts.pricing import Price, price
from modelyard.control.preparation import Prepared
from modelyard.errors import NotFound
from modelyard.gateway.exchange import HttpExchange
from modelyard.gateway.media import needs_resolving, resolve
from modelyard.money import decimal
from modelyard.records.accounts import Key
from modelyard.records.models import ModelCard, check_model_id
from modelyard.serving import Services
from modelyard.tasks import body as bodies
from modelyard.tasks.base import Task
from modelyard.tasks.body import Inference
from modelyard.tasks.registry import TASKS, find_task


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has passed every check. Its media has been fetched."""

    card: ModelCard
    task: Task
    inference: Inference
    cost: Price


@asynccontextmanager
async def admit(services: Services, http: HttpExchange, headers: dict[str, str]) -> AsyncIterator[Key]:
    """The key the request comes with, counted against its rate; adds the `ratelimit-*` headers.

    Everything until the end of the answer belongs inside: for so long the request is one of its account's under way.
    Raises Unauthorized, RateLimited, PaymentRequired, TooManyAtOnce.
    """
    authorization = http.header(b"authorization")
    keys = services.authenticator
    key = keys.recognise(authorization) or await keys.authenticate(authorization)
    headers |= services.limiter.take(key)
    services.funds.check(key.account_id)
    with services.quotas.request(key.account_id):
        yield key


async def understand(services: Services, http: HttpExchange, model_id: str, body: Mapping[str, Any]) -> Asked:
    """What a body asks of a model. Raises UnknownModel, ModelRefused, InvalidRequest, ClientLeft."""
    check_model_id(model_id)
    card = known_card(services, model_id) or await services.clusters.model(model_id)
    task = served_task(card)
    inference = bodies.read(task, body)
    if needs_resolving(inference.fields):
        async with http.until_client_leaves():
            fields = await resolve(inference.fields, task.media, services.fetcher)
        inference = replace(inference, fields=fields)
    return Asked(card, task, inference, price(card.memory_bytes, services.settings.price_per_gb_s))


def known_card(services: Services, model_id: str) -> ModelCard | None:
    """The card of a model whose files are in use, without asking the disk."""
    state = services.preparations.find(model_id)
    return state.card if isinstance(state, Prepared) else None


def served_task(card: ModelCard) -> Task:
    """The adapter of a model's task. Raises NotFound."""
    task = find_task(card.task)
    if task is None:
        raise NotFound(
            f"{card.model_id} is a model for {card.task}, which this server cannot run; it runs: "
            f"{', '.join(each.id for each in TASKS)}."
        )
    return task


def meter_headers(cost: Price, took_us: int) -> Mapping[str, str]:
    """What an inference cost, as headers; a stream's are sent before it is known."""
    return {
        "inference-meter": cost.meter,
        "inference-meter-price": decimal(cost.pico_per_s, 12),
        "inference-time": decimal(took_us, 6),
        "inference-cost": decimal(cost.nano(took_us)),
    }
