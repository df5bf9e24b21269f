"""The process that gateways follow: listens for them, keeps them up to date, and answers what they ask.

Owns who follows, and what each was told last. What one gateway has been given is its session's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.plane import Plane
from modelyard.control.routes import Route, Routes
from modelyard.gateway.following import frames
from modelyard.gateway.following.session import Session
from modelyard.gateway.metering import Books
from modelyard.gateway.metrics import InferenceTallies
from modelyard.records.requests import RequestRecord
from modelyard.tls import Entrance, LinkTls
from modelyard.wire import FrameConnection

log = logging.getLogger(__name__)

LOOK_S = 0.05
"""How soon gateways are told what has changed where no call has changed it: it was read from the store, which takes
longer."""
SYNC_S = 2.0
"""How long a gateway may take to say that it knows; one that does not is about to be replaced."""
LOST = "lost"
"""How a request ended whose gateway died."""


async def yes() -> bool:
    """For a process that nobody else can replace."""
    return True


@dataclass(frozen=True, slots=True)
class Authority:
    """What gateways ask of: all that exists once, in the process that they follow. `clock`: the ledger's. `leads`:
    whether this process may answer them, as far as it knows; where not, `confirm` finds out. `gone_s`: for how long
    what was set aside for the requests of a gateway whose connection has ended stays so, for it may come back."""

    plane: Plane
    routes: Routes
    authenticator: Authenticator
    limiter: RateLimiter
    funds: Funds
    quotas: Quotas
    aliases: Aliases
    books: Books
    journal: Journal
    tallies: InferenceTallies
    clock: Clock
    leads: Callable[[], bool] = lambda: True
    confirm: Callable[[], Awaitable[bool]] = yes
    gone_s: float = 0.0


class Leader:
    """All gateways that follow this process. Loop thread only."""

    def __init__(self, authority: Authority, secret: str) -> None:
        """`secret`: what gateways show."""
        self._authority = authority
        self._secret = secret
        self._sessions: set[Session] = set()
        self._greeted: set[Session] = set()
        self._abandoned: dict[str, asyncio.TimerHandle] = {}
        """By request, when what is set aside for it will be free unless its gateway comes back."""
        self._server: asyncio.Server | None = None
        self._entrance: Entrance | None = None
        self._syncs = itertools.count(1)
        self._seen = self._marks()
        self._told = self._describe()
        authority.routes.recall = self._recall
        authority.routes.tell_gone = self._tell_gone

    async def listen(self, listener: socket.socket, tls: LinkTls | None = None) -> None:
        """Starts accepting on a socket, Unix or TCP, already bound. `tls`: what is shown on the latter, and wanted of
        gateways."""
        if listener.family == socket.AF_UNIX:
            self._server = await asyncio.get_running_loop().create_unix_server(self._accept, sock=listener)
        else:
            self._entrance = Entrance(listener, self._accept, tls)
            self._entrance.open()

    async def close(self) -> None:
        """Stops accepting, and leaves every gateway. Idempotent."""
        if self._server is not None:
            self._server.close()
        if self._entrance is not None:
            await self._entrance.close()
        for session in list(self._sessions):
            session.end()
        for timer in self._abandoned.values():
            timer.cancel()

    async def look_forever(self) -> None:
        """Keeps gateways up to date, whoever changes something."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._tell_news()

    async def sync(self, *, forgets: bool = True) -> None:
        """Returns when every gateway knows what has changed by now, and has told all that it had to, or has had SYNC_S
        for it; nobody waits for one that has had that before and still says nothing."""
        self._tell_news()
        number = next(self._syncs)
        waiting = [session.sync(number, forgets=forgets) for session in self._greeted if not session.is_late]
        if waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_S):
                    await asyncio.gather(*waiting)

    @property
    def sessions(self) -> Collection[Session]:
        """Of the gateways that follow now."""
        return self._greeted

    def count_recalled(self, cluster_id: str) -> int:
        """Slots of a cluster that gateways are about to give back."""
        return sum(session.loans.count_recalled(cluster_id) for session in self._greeted)

    def _accept(self) -> FrameConnection:
        session = Session(self._authority, self._secret, self)
        self._sessions.add(session)
        return session.connection

    def _recall(self, route: Route, count: int, replica_id: str) -> None:
        """See Routes. First from the gateway that has most of them idle, on that replica, then on any, then from that
        which has most."""
        cluster_id = route.cluster_id
        for session in sorted(self._greeted, key=lambda each: each.loans.count(cluster_id, replica_id), reverse=True):
            count -= session.recall(cluster_id, count, replica_id)
            if count <= 0:
                break

    def _tell_gone(self, replica_id: str) -> None:
        """See Routes."""
        for session in self._greeted:
            session.note_gone(replica_id)

    # --- what sessions say ---

    def greet(self, session: Session) -> None:
        """A gateway has shown the secret: it is told all there is, and from now on what changes."""
        for frame in self._told:
            session.tell(frame)
        session.tell(frames.Followed())
        self._greeted.add(session)

    def note_ended(self, session: Session) -> None:
        """A gateway is gone."""
        self._sessions.discard(session)
        self._greeted.discard(session)

    def abandon(self, records: Iterable[RequestRecord]) -> None:
        """Requests of a gateway whose connection has ended, for which something was set aside."""
        for record in records:
            if self._authority.gone_s:
                settle = partial(self._settle_lost, record)
                self._abandoned[record.id] = asyncio.get_running_loop().call_later(self._authority.gone_s, settle)
            else:
                self._settle_lost(record)

    def claim(self, record: RequestRecord) -> None:
        """A gateway has come back that goes on with this request."""
        if (timer := self._abandoned.pop(record.id, None)) is not None:
            timer.cancel()

    def claimed(self) -> Collection[str]:
        """The ids of all requests for which something is set aside, and whose gateways follow or may come back."""
        return {*self._abandoned, *(request_id for session in self._sessions for request_id in session.reserved)}

    def _settle_lost(self, record: RequestRecord) -> None:
        """Frees what was set aside for a request whose gateway is gone: nobody knows what it took."""
        self._abandoned.pop(record.id, None)
        self._authority.books.settle(
            msgspec.structs.replace(record, settled_at=self._authority.clock.now(), outcome=LOST)
        )

    def end_stuck(self, frame: frames.EndStuck, address: str) -> None:
        """A replica, at this address, is ended for one request's sake: whoever else has something there is told
        first."""
        for session in self._greeted:
            session.tell(frames.WasEnded(address))
        self._authority.plane.end_stuck(frame.cluster_id, frame.replica_id, frame.reason)

    # --- what all are told ---

    def _tell_news(self) -> None:
        marks = self._marks()
        if all(now is before for now, before in zip(marks, self._seen, strict=True)):
            return
        self._seen = marks
        now = self._describe()
        for before, frame in zip(self._told, now, strict=True):
            if frame != before:
                for session in self._greeted:
                    session.tell(frame)
        self._told = now

    def _marks(self) -> Sequence[object]:
        """Each is another object when what it stands for may have changed."""
        authority = self._authority
        return authority.aliases.mark, authority.funds.mark, authority.quotas.mark, authority.journal.refusal

    def _describe(self) -> tuple[frames.Aliases, frames.Accounts, frames.Records]:
        authority = self._authority
        refusal = authority.journal.refusal
        return (
            frames.Aliases(authority.aliases.all()),
            frames.Accounts(authority.funds.refusals(), authority.funds.funded(), authority.quotas.limited()),
            frames.Records(None if refusal is None else (str(refusal), {"cause": refusal.data.get("cause")})),
        )
