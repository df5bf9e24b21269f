"""What a name of a model means to an account: one of its aliases, else the model itself. Asked by every request.

Owns a copy of all aliases in memory, read again within seconds of a change by whichever process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelyard.accounts.rereading import read_forever
from modelyard.errors import InvalidRequest, QuotaExceeded, StoreUnavailable
from modelyard.records.aliases import Alias
from modelyard.records.clusters import MAX_REPLICAS, Capacity, Changes, check_capacity
from modelyard.records.models import check_model_id
from modelyard.records.providers import KNOWN, check_name
from modelyard.store.aliases import Aliases as AliasTable

MOST_ALIASES = 1000
"""Of one account: as many as a list of models can hold beside its own on each page, and no client has more names."""
PROVIDERS = frozenset(provider.name for provider in KNOWN)
"""Names that begin with one of these and a slash are for models that others serve."""
NEVER_READ = -1
"""The version of nothing: whatever the store says is another."""


class Aliases:
    """All accounts' aliases. `read` blocks; the others belong to the event loop's thread and return at once."""

    def __init__(self, table: AliasTable) -> None:
        """Knows nothing before `read`, or `take`, was called."""
        self._table = table
        self._version = NEVER_READ
        self._named: Mapping[str, Mapping[str, Alias]] = {}

    def find(self, account_id: str, name: str) -> Alias | None:
        """The account's alias of that name; None when it has none."""
        named = self._named.get(account_id)
        return None if named is None else named.get(name)

    def model_of(self, account_id: str, name: str) -> str:
        """The id of the model that a name means to an account. Raises InvalidRequest where it is neither an alias nor
        well-formed."""
        alias = self.find(account_id, name)
        return check_model_id(name) if alias is None else alias.model_id

    def capacity_of(self, account_id: str, name: str) -> Capacity | None:
        """The capacity that is bound to an alias of the account; None: none is, or it has no such alias."""
        alias = self.find(account_id, name)
        return None if alias is None else alias.capacity

    def of(self, account_id: str) -> Sequence[Alias]:
        """The account's aliases, by name."""
        return [*self._named.get(account_id, {}).values()]

    def read(self) -> None:
        """Reads from the store what has changed, if anything has; all, once it was away. Raises Unavailable."""
        try:
            version = self._table.version()  # before the rest: what is changed meanwhile is read once more
            if version == self._version:
                return
            self.take(self._table.list())
        except StoreUnavailable:  # another database may take over that lacks the last changes, and counts on from there
            self._version = NEVER_READ
            raise
        self._version = version

    def take(self, aliases: Iterable[Alias]) -> None:
        """Takes over what somebody has read."""
        named: dict[str, dict[str, Alias]] = {}
        for alias in aliases:
            named.setdefault(alias.account_id, {})[alias.name] = alias
        self._named = named

    def all(self) -> Sequence[Alias]:
        """Every account's."""
        return [alias for named in self._named.values() for alias in named.values()]

    @property
    def mark(self) -> object:
        """Another object when any may have changed."""
        return self._named

    async def read_forever(self) -> None:
        """Reads it every few seconds; while the database does not answer, what was known stays in force."""
        await read_forever(self.read, "the aliases of models")


def check_alias(name: str, model_id: str, others: Sequence[Alias]) -> None:
    """Whether an account with these other aliases may have this one: no alias leads to another, none stands for a
    provider's model. Raises InvalidRequest, QuotaExceeded."""
    if name == model_id:
        raise InvalidRequest(field="name", got=name, accepted="another name than the model's own")
    if name.partition("/")[0].lower() in PROVIDERS and "/" in name:
        accepted = f"a name that does not begin with a provider's, such as {name.partition('/')[2]}"
        raise InvalidRequest(field="name", got=name, accepted=accepted)
    for other in others:
        if other.name == model_id:
            accepted = f"a model; {model_id} is itself an alias, of {other.model_id}"
            raise InvalidRequest(field="model", got=model_id, accepted=accepted)
        if other.model_id == name:
            raise InvalidRequest(
                field="name", got=name, accepted=f"no name that an alias leads to, as {other.name} does"
            )
    if len(others) >= MOST_ALIASES:
        raise QuotaExceeded(f"An account has at most {MOST_ALIASES} aliases.", cause="aliases", limit=MOST_ALIASES)


def check_target(model_id: str) -> str:
    """The one spelling of the id of a model that an alias may stand for: one of the hub or a folder, or a provider's,
    whose ids may have more parts. Raises InvalidRequest."""
    provider, _, name = model_id.partition("/")
    return model_id if provider in PROVIDERS and check_name(name) else check_model_id(model_id)


def read_capacity(asked: Changes) -> Capacity:
    """The capacity that is asked for, bounds that are not named by default. Raises InvalidRequest."""
    for name in ("min", "desired", "max"):
        bound = getattr(asked, name)
        if bound is not None and not 0 <= bound <= MAX_REPLICAS:
            raise InvalidRequest(
                field=f"capacity.{name}", got=bound, accepted=f"a whole number from 0 to {MAX_REPLICAS}"
            )
    return check_capacity(Capacity(), asked)
