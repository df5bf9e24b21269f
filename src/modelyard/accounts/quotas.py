"""What each account may have at once, and how many requests it has under way.

Owns a copy of the accounts' quotas that is read again every few seconds, so that nobody else has to ask the database,
and the count of requests. Enforces only that count; `control` keeps to the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from modelyard.accounts.rereading import read_forever
from modelyard.errors import TooManyAtOnce
from modelyard.records.accounts import Account, Quota

RETRY_AFTER_S = 1.0
UNLIMITED = Quota()


class Quotas:
    """The quotas of every account. All methods but `read` belong to the event loop's thread and return at once."""

    def __init__(self, list_accounts: Callable[[], Sequence[Account]]) -> None:
        """`list_accounts`: those with a quota, from the store. Knows of none before `read` was called."""
        self._list_accounts = list_accounts
        self._quotas: Mapping[str, Quota] = {}
        self._under_way: dict[str, int] = {}
        self._reports: dict[object, Mapping[str, int]] = {}
        """Requests that others have let begin, by account, as each of them told last."""

    def of(self, account_id: str) -> Quota:
        """What the account may have."""
        return self._quotas.get(account_id, UNLIMITED)

    def read(self) -> None:
        """Reads the quotas from the store; blocks. Raises Unavailable."""
        self._quotas = {
            account.id: Quota(
                instances=account.max_instances,
                memory_bytes=account.max_memory_bytes,
                concurrent=account.max_concurrent,
                models=account.max_models,
                disk_bytes=account.max_disk_bytes,
                weight=account.weight or 1,
            )
            for account in self._list_accounts()
        }

    async def read_forever(self) -> None:
        """Reads them every few seconds; while the database does not answer, those that were known stay in force."""
        await read_forever(self.read, "the accounts' quotas")

    def request(self, account_id: str) -> UnderWay:
        """A block for as long as which one request of the account counts, however it ends."""
        return UnderWay(self, account_id)

    def begin(self, account_id: str) -> None:
        """Counts a request. Raises TooManyAtOnce."""
        count, most = self._under_way.get(account_id, 0), self.of(account_id).concurrent
        if most is not None and (there := count + self._reported(account_id)) >= most:
            raise TooManyAtOnce(
                f"Your account's requests under way at once are limited to {most}, and there are {there}. Try again "
                "when one of them has ended.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._under_way[account_id] = count + 1

    def count(self, account_id: str) -> None:
        """Counts a request that another server has let begin, whatever the limit."""
        self._under_way[account_id] = self._under_way.get(account_id, 0) + 1

    def end(self, account_id: str) -> None:
        """Takes back one that `begin` has counted."""
        self._under_way[account_id] -= 1
        if not self._under_way[account_id]:
            del self._under_way[account_id]

    def under_way(self) -> int:
        """Requests that were admitted and have not ended, of all accounts."""
        return sum(self._under_way.values()) + sum(sum(report.values()) for report in self._reports.values())

    @property
    def mark(self) -> object:
        """Another object when any quota may have changed."""
        return self._quotas

    def limited(self) -> frozenset[str]:
        """The accounts whose requests at once are limited."""
        return frozenset(account_id for account_id, quota in self._quotas.items() if quota.concurrent is not None)

    def take_report(self, who: object, under_way: Mapping[str, int]) -> None:
        """What `who` has let begin without asking, of accounts that had no limit."""
        if under_way:
            self._reports[who] = under_way
        else:
            self._reports.pop(who, None)

    def _reported(self, account_id: str) -> int:
        return sum(report.get(account_id, 0) for report in self._reports.values())


class CountsRequests(Protocol):
    """What knows how many requests of an account are under way."""

    def begin(self, account_id: str) -> None:
        """One more. May raise, and has counted nothing then."""

    def end(self, account_id: str) -> None:
        """One less."""


class UnderWay:
    """A block for as long as which one request of an account counts. Entering it raises what `begin` does. Not made of
    a generator, which takes half a microsecond longer."""

    __slots__ = ("_account_id", "_counts")

    def __init__(self, counts: CountsRequests, account_id: str) -> None:
        self._counts = counts
        self._account_id = account_id

    def __enter__(self) -> None:
        self._counts.begin(self._account_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counts.end(self._account_id)
