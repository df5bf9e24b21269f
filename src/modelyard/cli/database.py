"""The database, for commands that work without a server: accounts, keys and usage, by the rules of `accounts`."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelyard.clock import SystemClock
from modelyard.config import Settings
from modelyard.private_files import ensure_private_folder
from modelyard.records.audit import Actor

if TYPE_CHECKING:
    from modelyard.accounts.administration import Administration
    from modelyard.accounts.cache_administration import CacheAdministration


@contextmanager
def open_local_administration(settings: Settings) -> Iterator[Administration]:
    """The administration of the database these settings name, which is made where there is none."""
    from modelyard.accounts.administration import Administration
    from modelyard.store.store import Store

    ensure_private_folder(settings.data_dir)
    with Store.open(settings.store_url) as store:
        yield Administration(store, SystemClock(), find_actor())


@contextmanager
def open_local_cache(settings: Settings) -> Iterator[CacheAdministration]:
    """The administration of what models take up on this machine's disk."""
    from modelyard.accounts.cache_administration import CacheAdministration
    from modelyard.catalog.hub_settings import read_hub_settings
    from modelyard.store.store import Store

    ensure_private_folder(settings.data_dir)
    with Store.open(settings.store_url) as store:
        hub_cache = read_hub_settings().cache_dir
        yield CacheAdministration(store, SystemClock(), hub_cache, settings.data_dir, find_actor())


def find_actor() -> Actor:
    """Who runs this command, and on which machine, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id that has no name
        user = f"user {os.getuid()}"
    return Actor("command", user, source=socket.gethostname())
