"""Whether a SQLite file has changed since it was last asked, without reading any of it. Owns a connection for that."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path


class DataVersion:
    """Asks SQLite, which counts what other connections commit. Source: PRAGMA data_version.

    Takes some ten microseconds, waits for nobody, and may so be asked by an event loop. One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Connects when it is asked for the first time."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None

    def has_changed(self) -> bool:
        """Whether anything was committed since the last call, by whichever process; True where SQLite cannot tell."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=0.0, check_same_thread=False)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:  # whoever reads next will say what is wrong
            version = None
        seen, self._seen = self._seen, version
        return version is None or version != seen

    def close(self) -> None:
        """Lets go of the file. Idempotent."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
