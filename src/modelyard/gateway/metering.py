"""What each inference takes and costs: set aside before it runs where that is needed, settled when it is over, however
it ends. Owns the record of a request from its admission to the journal.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

from modelyard.accounts.funds import Funds
from modelyard.accounts.limits import check_funds
from modelyard.accounts.pricing import Cost
from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.errors import ReplicaLost
from modelyard.http.exchange import ClientLeft
from modelyard.money import US
from modelyard.protocol import Usage
from modelyard.records.accounts import Key
from modelyard.records.instances import Tariff
from modelyard.records.requests import RequestRecord
from modelyard.store.store import Store

NOTHING = Usage()


class Books(ABC):
    """Where records of requests go."""

    @abstractmethod
    def check(self) -> None:
        """Raises StoreUnavailable when what comes of a request could not be recorded."""

    @abstractmethod
    def is_funded(self, account_id: str) -> bool:
        """Whether an account has a credit or a limit, so that what it is billed for is set aside before."""

    @abstractmethod
    async def reserve(self, record: RequestRecord) -> None:
        """Sets `record.reserved_nano` aside, to its end even when it is cancelled. Raises PaymentRequired,
        Unavailable."""

    @abstractmethod
    def settle(self, record: RequestRecord) -> None:
        """Takes what a request came to, soon written."""


class OwnBooks(Books):
    """Where this process writes them."""

    def __init__(self, store: Store, journal: Journal, funds: Funds) -> None:
        self._store = store
        self._journal = journal
        self._funds = funds

    def check(self) -> None:
        """See Books."""
        self._journal.check()

    def is_funded(self, account_id: str) -> bool:
        """See Books."""
        return self._funds.find(account_id) is not None

    async def reserve(self, record: RequestRecord) -> None:
        """See Books."""
        standing = self._funds.find(record.account_id)
        if standing is not None:  # else its credit and limit were taken away this moment
            await asyncio.to_thread(self._store.requests.reserve, record, standing.elsewhere, check_funds)

    def settle(self, record: RequestRecord) -> None:
        """See Books."""
        self._journal.settle(record)


class Metering:
    """Meters the requests of one server."""

    def __init__(self, books: Books, clock: Clock, tariff: Tariff, reserve_s: int, server_id: str) -> None:
        """`clock`: the one the ledger goes by; `reserve_s`: what is set aside before each request that is billed, in
        the name of `server_id`."""
        self.books = books
        self.clock = clock
        self.bills_requests = tariff.counts == "inference"
        self.reserve_us = reserve_s * US
        self.server_id = server_id

    def request(self, request_id: str, key: Key, model_id: str, cost: Cost) -> MeteredRequest:
        """What one request takes: where it `reserves`, that is awaited first. A context for its run, at whose end what
        it took is settled."""
        return MeteredRequest(self, request_id, key, model_id, cost)


class MeteredRequest:
    """See `Metering.request`. `reserves`: something has to be set aside before it runs."""

    __slots__ = (
        "_began_at", "_cost", "_id", "_instance_id", "_is_billed", "_key", "_metering", "_model_id", "_reserved_nano",
        "_usage", "reserves",
    )  # fmt: skip

    def __init__(self, metering: Metering, request_id: str, key: Key, model_id: str, cost: Cost) -> None:
        self._metering = metering
        self._id = request_id
        self._key = key
        self._model_id = model_id
        self._cost = cost
        self._is_billed = cost.is_billed(bills_requests=metering.bills_requests)
        self.reserves = self._is_billed and metering.books.is_funded(key.account_id)
        self._began_at = metering.clock.now()
        self._reserved_nano = 0
        self._instance_id: str | None = None
        self._usage = NOTHING

    def spent(self, instance_id: str, usage: Usage) -> None:
        """Takes what a try came to; of several tries the last one counts."""
        self._instance_id, self._usage = instance_id, usage

    async def reserve(self) -> None:
        """Sets aside what it may come to. Raises PaymentRequired."""
        metering = self._metering
        self._reserved_nano = self._cost.reserve_nano(metering.reserve_us)
        # To its end even when the client leaves, or nobody would settle it.
        reserving = asyncio.ensure_future(metering.books.reserve(self._record()))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            reserving.add_done_callback(self._abandon)
            raise

    def __enter__(self) -> None:
        """It runs from now on."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._instance_id is not None or self._reserved_nano:
            self._settle("answered" if error is None else outcome_of(error))

    def _abandon(self, reserving: asyncio.Future[None]) -> None:
        if not reserving.cancelled() and reserving.exception() is None:
            self._settle("cancelled")

    def _settle(self, outcome: str) -> None:
        metering = self._metering
        cost_nano = self._cost.cost_nano(self._usage)
        metering.books.settle(
            self._record(
                instance_id=self._instance_id,
                settled_at=metering.clock.now(),
                outcome=outcome,
                took_us=self._usage.took_us,
                cost_nano=cost_nano,
                charged_nano=cost_nano if self._is_billed else 0,
                prompt_tokens=self._usage.prompt_tokens,
                new_tokens=self._usage.new_tokens,
            )
        )

    def _record(self, **settled: Any) -> RequestRecord:
        """As it is now; made anew each time, which costs less than a changed copy."""
        return RequestRecord(
            self._id,
            self._key.account_id,
            self._model_id,
            self._cost.memory_bytes,
            self._began_at,
            self._key.id,
            reserved_nano=self._reserved_nano,
            server_id=self._metering.server_id,
            **settled,
        )


def outcome_of(error: BaseException) -> str:
    """How a request ended that was not answered, in one word."""
    match error:
        case asyncio.CancelledError() | ClientLeft():
            return "cancelled"
        case ReplicaLost():
            return "lost"
    return "failed"
