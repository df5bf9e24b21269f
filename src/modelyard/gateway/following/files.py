"""Files that models have made, of servers whose gateways follow this process: fetched when a client asks for one.

Owns which are on their way. A copy expires with the file itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from modelyard.errors import NotFound
from modelyard.gateway.following import frames
from modelyard.gateway.following.session import Session
from modelyard.media.artefacts import NAME, Artefacts

log = logging.getLogger(__name__)

PIECE_S = 10.0
"""How long a gateway may take to read and send a piece, or to say that it has no such file."""


class FilesOfGateways:
    """See the module. Loop thread only."""

    def __init__(self, artefacts: Artefacts, sessions: Callable[[], Collection[Session]]) -> None:
        """`artefacts`: where copies are kept. `sessions`: of the gateways that follow now."""
        self._artefacts = artefacts
        self._sessions = sessions
        self._fetching: dict[str, asyncio.Task[None]] = {}

    async def ensure_here(self, name: str) -> None:
        """Returns when a copy is here, fetched once for all who ask at the same time. Raises NotFound where no gateway
        that follows has it, StoreUnavailable where it cannot be written."""
        if not NAME.fullmatch(name):
            raise NotFound("There is no such file.")
        task = self._fetching.get(name)
        if task is None:
            task = self._fetching[name] = asyncio.create_task(self._fetch(name), name="file of another server")
            task.add_done_callback(lambda done: self._fetching.pop(name, None))
        await asyncio.shield(task)

    async def _fetch(self, name: str) -> None:
        sessions = list(self._sessions())
        first_pieces = await asyncio.gather(*(ask(session, name, 0) for session in sessions))
        for session, piece in zip(sessions, first_pieces, strict=True):
            if piece is not None and await self._copy(session, name, piece):
                return
        raise NotFound("There is no such file, or it has expired, or the server that has it cannot be reached.")

    async def _copy(self, session: Session, name: str, piece: frames.FilePiece | None) -> bool:
        """Whether all of it has come. `piece`: the first."""
        with self._artefacts.copying(name) as copy:
            while piece is not None:
                await asyncio.to_thread(copy.add, piece.data)
                if copy.count_bytes >= piece.size_bytes:
                    await asyncio.to_thread(copy.finish, piece.made_at)
                    return True
                piece = await ask(session, name, copy.count_bytes)
        log.warning("a file of gateway %d broke off", session.number)
        return False


async def ask(session: Session, name: str, offset: int) -> frames.FilePiece | None:
    """What follows there; None: the gateway has no such file, or is gone, or says nothing."""
    try:
        async with asyncio.timeout(PIECE_S):
            return await session.ask_file(name, offset)
    except TimeoutError:
        return None
