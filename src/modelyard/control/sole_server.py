"""That this is the one server of its data folder and of its database: who it is, and what that entitles it to.

Owns the data folder's lock and the server's id. The database's lock is the store's.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
from pathlib import Path

from modelyard.clock import Clock
from modelyard.errors import DatabaseTaken, ModelyardError, Unavailable
from modelyard.private_files import create_private_file
from modelyard.store.ids import new_id
from modelyard.store.server_lock import ServerLock
from modelyard.store.store import Store

log = logging.getLogger(__name__)

SERVER_ID_FILE = "server-id"
CONFIRM_S = 5.0
"""How often it is asked whether this is still the one server of its database."""
MAX_NAME = 63
"""PostgreSQL cuts an application's name here."""


def ensure_server_id(data_dir: Path) -> str:
    """The name by which the database knows the server of this data folder, made on the first call.

    For the holder of the folder's lock.
    """
    path = data_dir / SERVER_ID_FILE
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        create_private_file(fresh, new_id("server") + "\n")
        fresh.replace(path)  # at once: a server that is killed here leaves none or a whole one
    return path.read_text(encoding="ascii").strip()


def lock_data_dir(data_dir: Path) -> int:
    """A descriptor that holds the data folder for this server until it is closed. Raises Unavailable."""
    descriptor = os.open(data_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(f"Another modelyard server uses {data_dir}.", cause="data folder taken") from None
    return descriptor


def name_of(server_id: str) -> str:
    """This server, as another one is to name it."""
    return f"pid {os.getpid()} on {socket.gethostname()}, {server_id}"[:MAX_NAME]


async def end_when_taken(lock: ServerLock) -> None:
    """Ends this server, in order, once another has its database: while the connection was broken it may take over."""
    while True:
        await asyncio.sleep(CONFIRM_S)
        try:
            await asyncio.to_thread(lock.confirm)
        except DatabaseTaken as error:
            log.critical("%s This one ends.", error)
            return signal.raise_signal(signal.SIGTERM)
        except ModelyardError as error:
            log.warning("whether this is still the only server of its database is unknown: %s", error)


def close_books_of_others(store: Store, server_id: str, clock: Clock) -> None:
    """Ends what other servers of this database left open when they were cut off, as one of them would itself."""
    ended = store.instances.end_those_of_others(server_id, "its server is gone")
    store.requests.settle_those_of_others(server_id, clock.now())
    store.jobs.requeue_those_of_others(server_id)
    if ended:
        log.warning("ended %d instances in the ledger that servers which are gone had left open", ended)
