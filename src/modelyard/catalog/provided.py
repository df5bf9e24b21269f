"""Closed models: which there are, by the list that the library of providers ships, and which of them an id means.

Reads the library's file without importing it, once. Asks nobody: a name that is in no list may be a model all the same,
and its provider knows.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from modelyard.money import PICO
from modelyard.records.models import Inspection, Listing, ModelCard, Source
from modelyard.records.providers import (
    CHAT,
    EMBED,
    LISTEN,
    PAINT,
    SPEAK,
    WRITE,
    ClosedModel,
    Provider,
    UnitPrices,
    check_name,
)

log = logging.getLogger(__name__)

PROVIDER = "provider"
"""The fact that tells whose model a row is."""
LIBRARY = "litellm"
PRICES = "model_prices_and_context_window_backup.json"
TASKS = {
    "chat": CHAT,
    "responses": CHAT,
    "completion": WRITE,
    "embedding": EMBED,
    "image_generation": PAINT,
    "audio_speech": SPEAK,
    "audio_transcription": LISTEN,
}
"""The list's word for what a model does → the task."""
PREFIXES = {"cohere_chat": "cohere", "text-completion-openai": "openai"}
"""The list's word for a provider, where it has several."""
OPEN_NAMES = ("google/gemma",)
"""Names in the list that are, on the hub, the same models with open weights: there the hub's is meant."""
HUB_PARTS = 2
"""Of an id that a model of the hub may have."""
ELSEWHERE = frozenset({"hub", "folder", "open"})
HERE = frozenset({"provider", "closed"})
"""Words of `?source=`."""


class Price(msgspec.Struct, frozen=True):
    """A model in the library's list, as far as it is read. In US dollars."""

    litellm_provider: str = ""
    mode: str = ""
    max_input_tokens: Any = None
    max_tokens: Any = None
    input_cost_per_token: Any = None
    cache_read_input_token_cost: Any = None
    output_cost_per_token: Any = None
    output_cost_per_image_token: Any = None
    input_cost_per_image: Any = None
    output_cost_per_image: Any = None
    input_cost_per_character: Any = None
    input_cost_per_second: Any = None


class Provided:
    """Every provider that may be asked, and the closed models that are known. Does not change."""

    def __init__(self, providers: Mapping[str, Provider], known: Mapping[str, ClosedModel]) -> None:
        self._providers = providers
        self._known = known

    def find(self, model_id: str, source: str | None, *, has_key: bool) -> ClosedModel | None:
        """The closed model that an id means; None: it means another.

        An id whose first part is no provider's name never does. Else `source` settles it, then a provider's key that
        comes along, then the list; a server that the operator has named has all of its names, and a longer id than the
        hub's can only be a provider's.
        """
        name, _, rest = model_id.partition("/")
        provider = self._providers.get(name)
        if provider is None or not check_name(rest) or source in ELSEWHERE:
            return None
        known = self._known.get(model_id)
        listed = known is not None and not model_id.startswith(OPEN_NAMES)
        if source in HERE or has_key or listed or provider.is_own or model_id.count("/") >= HUB_PARTS:
            return known or ClosedModel(provider, rest)
        return None

    def has_provider(self, model_id: str) -> bool:
        """Whether an id begins with a provider's name."""
        return model_id.partition("/")[0] in self._providers

    def listings(self, now: datetime) -> list[Listing]:
        """The known models as the catalogue lists them."""
        return [listing_of(model, now) for model in self._known.values()]

    def find_listing(self, model_id: str, now: datetime) -> Listing | None:
        """The one of them with that name."""
        model = self._known.get(model_id)
        return None if model is None else listing_of(model, now)


def open_provided(providers: Mapping[str, Provider]) -> Provided:
    """What the installed library knows; nothing but providers where it is not installed. May block for a moment."""
    path = find_list()
    if path is None:
        return Provided(providers, {})
    try:
        prices = msgspec.json.decode(path.read_bytes(), type=dict[str, Price])
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("the list of closed models cannot be read: %s", error)
        return Provided(providers, {})
    return Provided(providers, {model.model_id: model for model in read_models(prices, providers)})


def find_list() -> Path | None:
    """The library's list; None where it is not installed. Imports nothing."""
    found = importlib.util.find_spec(LIBRARY)
    places = [] if found is None else found.submodule_search_locations or []
    return next((path for place in places if (path := Path(place) / PRICES).is_file()), None)


def read_models(prices: Mapping[str, Price], providers: Mapping[str, Provider]) -> Iterator[ClosedModel]:
    """The models of providers that are asked where the list expects them, for tasks that they are asked for."""
    by_prefix = {each.prefix: each for each in providers.values() if not each.is_own}
    for key, price in prices.items():
        prefix = PREFIXES.get(price.litellm_provider, price.litellm_provider)
        provider, task = by_prefix.get(prefix), TASKS.get(price.mode)
        if provider is None or task not in provider.tasks:
            continue
        name = key.removeprefix(f"{price.litellm_provider}/").removeprefix(f"{prefix}/")
        if check_name(name) and not is_variant(name, provider):
            yield ClosedModel(provider, name, task, context_of(price), prices_of(price, task))


def is_variant(name: str, provider: Provider) -> bool:
    """Whether a line of the list is a price for some size or quality of a model, or a fine-tuned one."""
    return name.startswith("ft:") or (provider.prefix in ("openai", "anthropic", "gemini", "xai") and "/" in name)


def context_of(price: Price) -> int | None:
    """Most tokens of a prompt."""
    return next((each for each in (price.max_input_tokens, price.max_tokens) if type(each) is int and each > 0), None)


def prices_of(price: Price, task: str) -> UnitPrices | None:
    """What the list says of prices; None where it says nothing, or not in units that can be counted."""
    written = price.output_cost_per_token
    image = price.output_cost_per_image or price.input_cost_per_image
    if task == PAINT:
        written = price.output_cost_per_image_token or written
    prices = UnitPrices(
        read_token=pico(price.input_cost_per_token),
        cached_token=pico(price.cache_read_input_token_cost),
        new_token=pico(written),
        image=pico(image),
        character=pico(price.input_cost_per_character),
        second=pico(price.input_cost_per_second),
    )
    return None if prices == UnitPrices() else prices


def pico(usd: Any) -> int:
    """US dollars × 10^12; 0 for what is no amount."""
    return round(usd * PICO) if isinstance(usd, int | float) and 0 < usd < PICO else 0


def card_of(model: ClosedModel, task: str) -> ModelCard:
    """The card of a closed model, asked for a task. It takes no memory here."""
    inspection = Inspection(task=task, library=Source.PROVIDER, max_length=model.context)
    return ModelCard(model.model_id, task, Source.PROVIDER, 0, inspection, closed=model)


def listing_of(model: ClosedModel, now: datetime) -> Listing:
    """A closed model's row."""
    facts: dict[str, Any] = {PROVIDER: model.provider.name}
    if model.context is not None:
        facts["max_length"] = model.context
    if model.prices is not None:
        units = {name: getattr(model.prices, name) for name in UnitPrices.__dataclass_fields__}
        facts["prices_pico"] = {name: amount for name, amount in units.items() if amount}
    return Listing(model.model_id, Source.PROVIDER, now, task=model.task, facts=facts)
