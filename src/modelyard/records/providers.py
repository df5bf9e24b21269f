"""Providers of closed models: who there is, what each can be asked, what a model of theirs is and costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from modelyard.errors import InvalidRequest

CHAT, WRITE, EMBED = "chat", "text-generation", "feature-extraction"
PAINT, SPEAK, LISTEN = "text-to-image", "text-to-speech", "automatic-speech-recognition"
EVERY = (CHAT, WRITE, EMBED, PAINT, SPEAK, LISTEN)
OWN_WORDS = frozenset({"events", "list", "logs", "request", "usage"})
"""Words that stand in paths of our own where an organisation does."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9_.:@+-]+(?:/[A-Za-z0-9_.:@+-]+)*")
MOST_NAME = 192
"""Characters of a model's name at its provider."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider, or one server that speaks as OpenAI's does.

    `prefix`: the library's word for it. `tasks`: what its models can be asked. `takes_top_k`: beside the settings that
    the library knows. `base_url`: where it is asked; empty: where the library knows it to be. `paths`: by task, what
    the library wants to have behind that. `is_own`: the operator has named it, in no list.
    """

    name: str
    prefix: str
    tasks: tuple[str, ...]
    takes_top_k: bool = False
    base_url: str = ""
    paths: tuple[tuple[str, str], ...] = ()
    is_own: bool = False

    def url_for(self, task: str) -> str | None:
        """Where a task is asked; None: where the library knows it to be."""
        return self.base_url.rstrip("/") + dict(self.paths).get(task, "") if self.base_url else None


KNOWN: tuple[Provider, ...] = (
    Provider("openai", "openai", EVERY),
    Provider("anthropic", "anthropic", (CHAT,), takes_top_k=True),
    Provider("google", "gemini", (CHAT, EMBED, PAINT), takes_top_k=True),
    Provider("mistral", "mistral", (CHAT, EMBED)),
    Provider("cohere", "cohere", (CHAT, EMBED), takes_top_k=True, paths=((CHAT, "/v2/chat"), (EMBED, "/v2/embed"))),
    Provider("xai", "xai", (CHAT,)),
    Provider("deepseek", "deepseek", (CHAT,)),
    Provider("groq", "groq", (CHAT, LISTEN)),
    Provider("together", "together_ai", (CHAT, WRITE, EMBED), takes_top_k=True),
    Provider("openrouter", "openrouter", (CHAT, EMBED), takes_top_k=True),
)
"""Those that everybody knows, by the name that a model's id begins with."""


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """What a provider charges, in 10^-12 US dollars: for each token read, read before, written; for each image made,
    character read aloud and second of sound heard."""

    read_token: int = 0
    cached_token: int = 0
    new_token: int = 0
    image: int = 0
    character: int = 0
    second: int = 0


@dataclass(frozen=True, slots=True)
class ClosedModel:
    """A model that only its provider runs. `name`: the provider's for it. `task`: None where nobody knows. `context`:
    most tokens of a prompt. `prices`: None where nobody knows them."""

    provider: Provider
    name: str
    task: str | None = None
    context: int | None = None
    prices: UnitPrices | None = None

    @property
    def model_id(self) -> str:
        """provider/name."""
        return f"{self.provider.name}/{self.name}"


class ProviderKey:
    """A provider's key on its way to it. Shows itself nowhere; `reveal` is for the frame that it travels in."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "ProviderKey(***)"

    def reveal(self) -> str:
        """The key."""
        return self._text


def read_providers(urls: Iterable[str]) -> Mapping[str, Provider]:
    """Every provider by name. `urls`: of the settings, `name=https://...` each: another address for one that is known,
    or a server of the operator's that speaks as OpenAI's does. Raises InvalidRequest."""
    providers = {each.name: each for each in KNOWN}
    for given in urls:
        name, separator, url = given.partition("=")
        parts = urlsplit(url)
        if not separator or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            accepted = "name=URL, as in acme=https://models.acme.example/v1, without a user or password"
            raise InvalidRequest(field="provider_urls", got=given, accepted=accepted)
        if not _NAME.fullmatch(name) or name in OWN_WORDS:
            accepted = f"a name of small letters, digits, '-' and '_', none of {', '.join(sorted(OWN_WORDS))}"
            raise InvalidRequest(field="provider_urls", got=name, accepted=accepted)
        known = providers.get(name)
        if known is not None and not known.is_own:
            providers[name] = replace(known, base_url=url)
        else:
            providers[name] = Provider(name, "openai", EVERY, takes_top_k=True, base_url=url, is_own=True)
    return providers


def read_keys(keys: Iterable[str], providers: Mapping[str, Any]) -> Mapping[str, ProviderKey]:
    """The operator's keys by provider; of the settings, `name=key` each. Raises InvalidRequest, without the key."""
    found: dict[str, ProviderKey] = {}
    for given in keys:
        name, separator, key = given.partition("=")
        if not separator or not key.strip() or name not in providers:
            got = f"{name}=..." if separator else "a text without ="
            accepted = f"name=key, where name is one of {', '.join(sorted(providers))}"
            raise InvalidRequest(field="provider_keys", got=got, accepted=accepted)
        found[name] = ProviderKey(key.strip())
    return found


def check_name(name: str) -> bool:
    """Whether a provider could call a model so."""
    return len(name) <= MOST_NAME and _MODEL.fullmatch(name) is not None and ".." not in name
