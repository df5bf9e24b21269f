"""The process that gateways follow: listens for them, keeps them up to date, and answers what they ask.

Owns who follows, and what each was told last. What one gateway has been given is its session's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.plane import Plane
from modelyard.control.routes import Routes
from modelyard.gateway.following import frames
from modelyard.gateway.following.session import Session
from modelyard.gateway.metering import Books
from modelyard.gateway.metrics import InferenceTallies
from modelyard.wire import FrameConnection

log = logging.getLogger(__name__)

LOOK_S = 0.05
"""How soon gateways are told what has changed where no call has changed it: it was read from the store, which takes
longer."""
SYNC_S = 2.0
"""How long a gateway may take to say that it knows; one that does not is about to be replaced."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What gateways ask of: all that exists once, in the process that they follow. `clock`: the ledger's."""

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
    server_id: str


class Leader:
    """All gateways that follow this process. Loop thread only."""

    def __init__(self, authority: Authority, secret: str, on_serving: Callable[[int], None]) -> None:
        """`secret`: what gateways show; `on_serving`: called with a gateway's number when it takes requests."""
        self._authority = authority
        self._secret = secret
        self._on_serving = on_serving
        self._sessions: set[Session] = set()
        self._greeted: set[Session] = set()
        self._server: asyncio.Server | None = None
        self._syncs = itertools.count(1)
        self._seen = self._marks()
        self._told = self._describe()

    async def listen(self, listener: socket.socket) -> None:
        """Starts accepting on a socket, Unix or TCP, already bound."""
        loop = asyncio.get_running_loop()
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._server = await make(self._accept, sock=listener)

    async def close(self) -> None:
        """Stops accepting, and leaves every gateway. Idempotent."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.end()

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

    def _accept(self) -> FrameConnection:
        session = Session(self._authority, self._secret, self)
        self._sessions.add(session)
        return session.connection

    # --- what sessions say ---

    def greet(self, session: Session) -> None:
        """A gateway has shown the secret: it is told all there is, and from now on what changes."""
        for frame in self._told:
            session.tell(frame)
        session.tell(frames.Followed(self._authority.server_id))
        self._greeted.add(session)

    def note_serving(self, session: Session) -> None:
        """A gateway takes requests."""
        self._on_serving(session.number)

    def note_ended(self, session: Session) -> None:
        """A gateway is gone."""
        self._sessions.discard(session)
        self._greeted.discard(session)

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
