"""The store: opened once by a process, then used from any of its threads. Owns the connection's life."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

from modelyard.store.accounts import Accounts
from modelyard.store.aliases import Aliases
from modelyard.store.audit import Audit
from modelyard.store.clusters import Clusters
from modelyard.store.database import LOCK_TIMEOUT_S, Database
from modelyard.store.downloads import Downloads
from modelyard.store.events import Events
from modelyard.store.grants import Grants
from modelyard.store.history import History
from modelyard.store.instances import Instances
from modelyard.store.jobs import Jobs
from modelyard.store.keys import Keys
from modelyard.store.leases import Leases, check_leader
from modelyard.store.migrate import migrate
from modelyard.store.models import Models
from modelyard.store.requests import Requests
from modelyard.store.responses import Responses


class Store:
    """Everything that lasts, a repository for each noun.

    Every method blocks on the disk or the network, is safe to call from any thread, commits before it returns, and
    raises Unavailable when the database cannot answer. From a coroutine, call it through `asyncio.to_thread`.
    """

    def __init__(self, database: Database) -> None:
        """For a database whose tables are up to date; `Store.open` is the way to get there."""
        self._database = database
        self.accounts = Accounts(database)
        self.keys = Keys(database)
        self.clusters = Clusters(database)
        self.instances = Instances(database)
        self.requests = Requests(database)
        self.events = Events(database)
        self.history = History(database)
        self.models = Models(database)
        self.jobs = Jobs(database)
        self.grants = Grants(database)
        self.downloads = Downloads(database)
        self.aliases = Aliases(database)
        self.audit = Audit(database)
        self.responses = Responses(database)
        self.leases = Leases(database)

    def led_with(self, token: int) -> Store:
        """The same store, for what only the leader with this token writes: anything else raises LeaseLost and changes
        nothing. Closed with this one."""
        return Store(self._database.checked(partial(check_leader, token=token)))

    @classmethod
    def open(cls, url: str, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Store:
        """Connects to `sqlite:///PATH` or `postgresql://…` and brings its tables up to date.

        Any number of processes may do this at once. `lock_timeout_s`: how long a call waits for another writer.
        Raises InvalidRequest for a URL of another kind; Unavailable, saying what to do, when the database cannot be
        opened or was made by a newer Modelyard.
        """
        database = Database(url, lock_timeout_s=lock_timeout_s)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def where(self) -> str:
        """The database file, or the server's URL without the password: for people to read."""
        return self._database.where

    def may_have_changed(self) -> bool:
        """Whether a query may find anything that none has found before the last call; an exception to all else here, as
        it does not block. One thread at a time."""
        return self._database.may_have_changed()

    def close(self) -> None:
        """Lets go of the database; any later call raises Unavailable. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
