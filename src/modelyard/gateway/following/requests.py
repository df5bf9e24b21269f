"""What inferences in a gateway ask of accounts and records: the answers come from the process that is followed.

Owns what is remembered of keys, and for how long.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from modelyard.accounts.keys import CACHED_S, digest_of, keep
from modelyard.accounts.quotas import UnderWay
from modelyard.accounts.rates import UNLIMITED_HEADERS
from modelyard.control.journal import Journal
from modelyard.errors import ModelyardError
from modelyard.gateway import credentials
from modelyard.gateway.admission import Admission, Admitted
from modelyard.gateway.following import frames
from modelyard.gateway.following.follower import Asked, Counts, Follower
from modelyard.gateway.metering import Books
from modelyard.gateway.metrics import InferenceTallies
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Usage
from modelyard.records.accounts import Key
from modelyard.records.requests import RequestRecord

COUNTED_S = 0.25
"""How old what a gateway has counted for metrics may be before it is told. Whoever reads them has it told at once."""


class FollowedAdmission(Admission):
    """Asks for each request whose key or account has a limit; the others begin at once."""

    def __init__(self, follower: Follower, counts: Counts, books: Books, per_minute: int) -> None:
        """`per_minute`: requests of keys without a limit of their own; 0: unlimited."""
        self._follower = follower
        self._books = books
        self._admitted: dict[int, str] = {}
        self._counts = counts
        self._per_minute = per_minute
        self._known: OrderedDict[str, tuple[Key, float]] = OrderedDict()
        follower.on_followed.append(self._tell_admitted)

    async def admit(self, http: HttpExchange, headers: dict[str, str]) -> Admitted:
        """See Admission."""
        key = await self._find_key(credentials.of_inference(http), http.client_address)
        http.trust()
        follower, account_id = self._follower, key.account_id
        self._books.check()
        rate = self._per_minute if key.rate_limit is None else key.rate_limit
        if rate or account_id in follower.accounts.limited:
            number = follower.next_number()
            try:
                admitted = await follower.ask(number, frames.AskAdmission(number, key), frames.Admitted)
            except Asked as error:
                headers |= error.refused.headers
                raise error.refused.error() from None
            headers |= admitted.headers
            self._admitted[number] = account_id
            return key, self._until_left(number)
        headers |= UNLIMITED_HEADERS
        follower.check_funds(account_id)
        return key, UnderWay(self._counts, account_id)

    async def _find_key(self, authorization: str | None, address: str | None) -> Key:
        digest = digest_of(authorization)
        known = None if digest is None else self._known.get(digest)
        if known is not None and monotonic() - known[1] <= CACHED_S:
            return known[0]
        number = self._follower.next_number()
        question = frames.AskKey(number, authorization, address)
        found = await self._follower.ask_plainly(number, question, frames.KeyFound)
        if digest is not None:
            keep(self._known, digest, (found.key, monotonic() - found.age_s))
        return found.key

    @contextmanager
    def _until_left(self, number: int) -> Iterator[None]:
        try:
            yield
        finally:
            self._admitted.pop(number, None)
            self._follower.tell(frames.Left(number))

    def _tell_admitted(self) -> None:
        for number, account_id in self._admitted.items():
            self._follower.tell(frames.HoldsAdmission(number, account_id))


class FollowedBooks(Books):
    """Hands records over as they come."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def check(self) -> None:
        """See Books."""
        self._follower.check_records()

    def is_funded(self, account_id: str) -> bool:
        """See Books."""
        return account_id in self._follower.accounts.funded

    async def reserve(self, record: RequestRecord) -> None:
        """See Books."""
        number = self._follower.next_number()
        await self._follower.ask_plainly(number, frames.AskReserve(number, record), frames.Agreed)

    def settle(self, record: RequestRecord) -> None:
        """See Books."""
        self._follower.tell_settled(record)


class WrittenBooks(FollowedBooks):
    """For a gateway that writes what requests came to itself, whoever leads and may die; what is set aside is asked
    for, since it is decided by figures that exist once."""

    def __init__(self, follower: Follower, journal: Journal) -> None:
        super().__init__(follower)
        self._journal = journal
        self._reserved: dict[str, RequestRecord] = {}
        follower.on_followed.append(self._tell_reserved)
        follower.write_records = journal.flush_for_reader

    def check(self) -> None:
        """See Books."""
        self._journal.check()
        super().check()

    async def reserve(self, record: RequestRecord) -> None:
        """See Books."""
        self._reserved[record.id] = record
        try:
            await super().reserve(record)
        except ModelyardError:
            del self._reserved[record.id]
            raise

    def settle(self, record: RequestRecord) -> None:
        """See Books."""
        self._journal.settle(record)
        if self._reserved.pop(record.id, None) is not None:
            self._follower.tell_written(record.id)

    def _tell_reserved(self) -> None:
        for record in self._reserved.values():
            self._follower.tell(frames.HoldsReservation(record))


class FollowedTallies(InferenceTallies):
    """Counts, and hands over what it has counted a little later: telling each inference would take more than counting
    it."""

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self._follower = follower
        self._timer: asyncio.TimerHandle | None = None
        follower.on_followed.append(self._tell)
        follower.on_telling_all.append(self._tell)

    def note(
        self, surface: str, model_id: str, status: int, took_s: float, usage: Usage | None, account_id: str = ""
    ) -> None:
        """See InferenceTallies."""
        super().note(surface, model_id, status, took_s, usage, account_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COUNTED_S, self._tell)

    def _tell(self) -> None:
        if self._timer is None or not self._follower.can_tell:
            return
        self._timer.cancel()
        self._timer = None
        self._follower.tell(frames.Counted(self.take_models(), self.take_clusters()))
