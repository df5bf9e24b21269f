"""Which account may see and use which model of the hub. Private and gated ones were fetched with the operator's token:
they are the operator's, and of the accounts that the operator names; for everybody else there are no such models.

Owns a copy of what the store says of that, read again every few seconds, so that nobody else has to ask the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from modelyard.accounts.rereading import read_forever
from modelyard.records.files import repository_of
from modelyard.records.variants import split_variant
from modelyard.store.grants import Grants, model_key


class Visibility:
    """Who may use what. `read` and `note` block; the others belong to the event loop's thread and return at once."""

    def __init__(self, grants: Grants, operators: Collection[str]) -> None:
        """`operators`: the ids of the accounts that may use everything. Knows nothing before `read` was called."""
        self._grants = grants
        self._operators = frozenset(operators)
        self._restricted: frozenset[str] = frozenset()
        self._granted: Mapping[str, Collection[str]] = {}

    def may_use(self, account_id: str | None, model_id: str) -> bool:
        """Whether the account may see a model of the hub, or a variant of one; None: the server itself."""
        if account_id is None or not self._restricted or account_id in self._operators:
            return True
        repository_id = repository_of(model_id)
        keys = {model_key(repository_id), model_key(split_variant(repository_id)[0])}
        return all(account_id in self._granted.get(key, ()) for key in keys & self._restricted)

    def hidden_from(self, account_id: str) -> Collection[str]:
        """The ids, in lower case, of all models that the account may not see."""
        return [key for key in self._restricted if not self.may_use(account_id, key)]

    def note(self, model_id: str, restricted: bool) -> None:
        """Takes what the hub says of a model. Raises Unavailable."""
        key = model_key(model_id)
        if restricted == (key in self._restricted):
            return
        if restricted:
            self._grants.restrict(model_id)
            self._restricted |= {key}
        else:
            self._grants.open(model_id)
            self._restricted -= {key}

    def read(self) -> None:
        """Reads from the store who may use what. Raises Unavailable."""
        self._granted = self._grants.list_granted()
        self._restricted = frozenset(self._grants.list_restricted())

    async def read_forever(self) -> None:
        """Reads it every few seconds; while the database does not answer, what was known stays in force."""
        await read_forever(self.read, "who may use which model")
