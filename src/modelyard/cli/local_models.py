"""Models without a server: the catalog in this process, with its work shown on standard error. Imports no gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.cli.examples import with_examples
from modelyard.config import Settings
from modelyard.errors import InvalidRequest
from modelyard.records.adapters import CONFIG_FILE
from modelyard.records.models import ModelCard, OnProgress, Progress, Source

if TYPE_CHECKING:
    from modelyard.catalog.catalog import Catalog

FILES = ("config.json", CONFIG_FILE)
"""By which a folder is told to hold a model, or an adapter."""
FOLDER_ORG = "folder"
"""The organisation in the id of a model that was named by its path."""


@asynccontextmanager
async def open_catalog(settings: Settings) -> AsyncIterator[Catalog]:
    """The catalog these settings describe; its downloads and lookups end with the context."""
    from modelyard.catalog import catalog as catalogs

    catalog = catalogs.open_catalog(with_examples(settings))
    try:
        yield catalog
    finally:
        await catalog.aclose()


async def find_card(catalog: Catalog, settings: Settings, name: str) -> ModelCard:
    """The card of a model named by its id or by the path of its folder. Raises UnknownModel."""
    return await catalog.with_base(card_of_folder(Path(name), settings)) if is_path(name) else await catalog.get(name)


async def find_model(catalog: Catalog, settings: Settings, name: str) -> ModelCard:
    """The same of a model that may be served. Raises UnknownModel, ModelRefused."""
    card = await find_card(catalog, settings, name)
    card.check_served()
    return card


async def fetch(catalog: Catalog, card: ModelCard, on_progress: Callable[[int, int], None]) -> ModelCard:
    """The card with the folder of its files, and of its base's if it is an adapter, downloaded first where they are on
    the hub.

    `on_progress` gets the bytes done and in all.
    """

    from modelyard.control.preparation import fetch_all

    def tell(progress: Progress) -> None:
        on_progress(progress.done_bytes, progress.total_bytes)

    async def fetch_one(card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        return await catalog.ensure_files(card, on_progress)

    return await fetch_all(fetch_one, card, tell, "")


async def prepare_files(
    catalog: Catalog, card: ModelCard, settings: Settings, on_progress: Callable[[int, int], None]
) -> ModelCard:
    """The same, with the folders from which they are loaded: of those with pickled weights, what is made of them."""
    from modelyard.control.conversions import open_conversions

    card, conversions = await fetch(catalog, card, on_progress), open_conversions(settings)
    base = card.base and await conversions.convert(card.base)
    return replace(await conversions.convert(card), base=base)


def is_path(name: str) -> bool:
    """Whether a model is named by its folder: a model id has exactly one slash and no leading dot."""
    return name.startswith((".", "/", "~")) or any((Path(name) / each).is_file() for each in FILES)


def card_of_folder(path: Path, settings: Settings) -> ModelCard:
    """The card of the model in one folder, wherever it lies. Raises InvalidRequest."""
    from modelyard.catalog.cards import make_card
    from modelyard.catalog.found import Found
    from modelyard.catalog.inspection import inspect_folder

    path = path.expanduser().resolve()
    if not path.is_dir():
        raise InvalidRequest(field="model", got=str(path), accepted="org/name, or a model folder that exists")
    found = Found(f"{FOLDER_ORG}/{path.name}", Source.FOLDER, inspect_folder(path), path)
    card = make_card(found, settings.allow_unsafe, settings.context_tokens, settings.bf16, settings.pickles)
    # What is wrong is said of the folder, by which it was named.
    return card if card.refusal is None else replace(card, refusal=card.refusal.replace(card.model_id, str(path), 1))
