"""Who may begin an inference now: the key, its rate, its account's funds and requests at once, in this order.

Owns the order. What is counted belongs to `accounts`; in a gateway beside the process that counts, that one is asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.gateway import credentials
from modelyard.gateway.metering import Books
from modelyard.http.exchange import HttpExchange
from modelyard.records.accounts import Key

Admitted = tuple[Key, AbstractContextManager[None]]
"""The key that a request comes with, and a block for as long as which it counts as under way, to be entered at once."""


class Admission(ABC):
    """Asked once by every inference, before its body is read."""

    @abstractmethod
    async def admit(self, http: HttpExchange, headers: dict[str, str]) -> Admitted:
        """Counts a request; adds the `ratelimit-*` headers.

        Raises Unauthorized, ForeignPage, Throttled, StoreUnavailable, RateLimited, PaymentRequired; TooManyAtOnce, at
        the latest when the block is entered.
        """


class OwnAdmission(Admission):
    """Where this process counts."""

    def __init__(
        self, authenticator: Authenticator, books: Books, limiter: RateLimiter, funds: Funds, quotas: Quotas
    ) -> None:
        self._authenticator = authenticator
        self._books = books
        self._limiter = limiter
        self._funds = funds
        self._quotas = quotas

    async def admit(self, http: HttpExchange, headers: dict[str, str]) -> Admitted:
        """See Admission."""
        authorization = credentials.of_inference(http)
        key = self._authenticator.recognise(authorization) or await self._authenticator.authenticate(
            authorization, http.client_address
        )
        http.trust()
        self._books.check()
        headers |= self._limiter.take(key)
        self._funds.check(key.account_id)
        return key, self._quotas.request(key.account_id)
