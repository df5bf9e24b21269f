"""Closed models as a request names them: which it means, for what task, with whose key, at what price.

Owns the rule of whose key is used: the one that the request brings, else the operator's, and that only where the price
of the model is known, or the server that is asked is the operator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec

from modelyard.accounts.pricing import UnitPrice
from modelyard.catalog.provided import Provided, card_of
from modelyard.errors import InvalidRequest, ProviderKeyRefused
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Usage
from modelyard.providers.tasks import TASKS
from modelyard.records.models import ModelCard
from modelyard.records.providers import CHAT, PAINT, SPEAK, ClosedModel, ProviderKey, UnitPrices
from modelyard.tasks.base import Task
from modelyard.tasks.body import Inference

KEY_HEADER = b"provider-key"
MOST_KEY = 4096
MOST_FIELDS = 100
MOST_NEW_TOKENS = 4096
"""Of which the price is set aside where a request does not say how many it wants."""
BYTES_PER_TOKEN = 3


class Closed(msgspec.Struct, frozen=True):
    """A closed model as a request means it. `pays`: whether the account does, as the operator's key is used."""

    card: ModelCard
    task: Task
    key: ProviderKey
    pays: bool

    def cost(self, inference: Inference) -> UnitPrice:
        """The terms of one inference."""
        closed = self.card.closed
        if not self.pays or closed is None or closed.prices is None:
            return UnitPrice(UnitPrices(), Usage())
        text = inference.fields.get("text")
        characters = len(text) if self.task.id == SPEAK and isinstance(text, str) else 0
        images = 1 if self.task.id == PAINT else 0
        wanted = inference.params.get("max_new_tokens")
        most = Usage(
            prompt_tokens=len(str(inference.fields)) // BYTES_PER_TOKEN,
            new_tokens=wanted if isinstance(wanted, int) else MOST_NEW_TOKENS,
        )
        return UnitPrice(closed.prices, most, characters, images)


class ClosedModels:
    """Tells closed models from others. Loop thread only; asks nobody."""

    def __init__(self, provided: Provided, keys: Mapping[str, ProviderKey]) -> None:
        """`keys`: the operator's, by provider."""
        self._provided = provided
        self._keys = keys

    def find(self, http: HttpExchange, model_id: str, asks: str | None) -> Closed | None:
        """The closed model that a request means by an id; None: it means another. `asks`: see Surface.

        Raises ProviderKeyRefused where there is no key to ask with, InvalidRequest.
        """
        key = key_of(http)
        if not self._provided.has_provider(model_id):
            return None
        source = word_of(http.query, "source")
        model = self._provided.find(model_id, source, has_key=key is not None)
        if model is None:
            return None
        task_id = model.task or asks or word_of(http.query, "task") or CHAT
        provider = model.provider
        if task_id not in provider.tasks:
            offered = ", ".join(provider.tasks)
            raise InvalidRequest(field="model", got=model_id, accepted=f"a model of {provider.name} for {offered}")
        card = card_of(model, task_id)
        own = key or self._find_key(model)
        return Closed(card, TASKS[task_id], own, pays=key is None)

    def _find_key(self, model: ClosedModel) -> ProviderKey:
        provider = model.provider
        key = self._keys.get(provider.name)
        if key is None:
            words = (
                f"{model.model_id} is a closed model of {provider.name}, and there is no provider-key to ask it with."
            )
            raise ProviderKeyRefused(words, cause="missing", provider=provider.name)
        if model.prices is None and not provider.is_own:
            words = f"The price of {model.model_id} is not known here, so that this server's key is not used for it."
            raise ProviderKeyRefused(words, cause="price", provider=provider.name)
        return key


def key_of(http: HttpExchange) -> ProviderKey | None:
    """The provider's key that a request brings. Raises InvalidRequest, without it."""
    text = (http.header(KEY_HEADER) or "").strip()
    text = text[len("bearer ") :].strip() if text[:7].lower() == "bearer " else text
    if not text:
        return None
    if len(text) > MOST_KEY or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidRequest(field="provider-key", got="***", accepted="a key as its provider has given it")
    return ProviderKey(text)


def word_of(query: str, name: str) -> str | None:
    """A field of the query string; None where it is not there."""
    if name not in query:
        return None
    try:
        values = parse_qs(query, max_num_fields=MOST_FIELDS).get(name)
    except ValueError:
        return None
    return values[0] if values else None
