"""The database, for commands that work without a server: opening it, and naming an account that is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelyard.config import Settings
from modelyard.errors import NotFound

if TYPE_CHECKING:
    from modelyard.records.accounts import Account
    from modelyard.store.store import Store


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The database these settings name, made where there is none."""
    from modelyard.store.store import Store

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with Store.open(settings.store_url) as store:
        yield store


def no_account(name: str, accounts: Iterable[Account]) -> NotFound:
    """The error for an account that is not among these."""
    others = ", ".join(sorted(account.name for account in accounts)) or "none yet"
    return NotFound(f"No account is called {name}; there are {others}.")
