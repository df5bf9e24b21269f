"""Pieces of a streamed answer on their way to a peer whose client reads at its own pace.

Owns one request's window: what may be sent now, and what waits here. The model never waits; what it makes meanwhile is
kept as one text, which is as long as the answer at most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from modelyard.protocol import PIECE_WEIGHT, WINDOW, CalledPiece, cut_piece, weight_of


class PieceWindow:
    """Sends pieces in order while the peer's window has room, and the end after the last. Loop thread only."""

    __slots__ = ("_end", "_given_up", "_room", "_send", "_waiting")

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._room = WINDOW
        self._waiting: list[str] = []
        self._end: Callable[[], None] | None = None
        self._given_up = False

    def add(self, text: str) -> None:
        """Sends a piece, now or when there is room."""
        weight = weight_of(text)
        if not self._waiting and weight <= self._room:
            self._room -= weight
            self._send(text)
        elif not self._given_up:
            self._waiting.append(text)
            self._flush()

    def widen(self, weight: int) -> None:
        """The peer's client has taken pieces of this weight."""
        self._room += weight
        self._flush()

    def finish(self, end: Callable[[], None]) -> None:
        """Calls `end` once everything was sent."""
        if self._waiting:
            self._end = end
        else:
            end()

    def give_up(self) -> None:
        """Forgets what waits: nobody reads it any more."""
        self._given_up = True
        self._waiting.clear()
        if self._end is not None:
            self._end()

    def _flush(self) -> None:
        """Sends what waits, in pieces as large as the room that there is; what is thought, in pieces of its own, and
        those of calls as they were made."""
        while self._waiting and (fits := self._room - PIECE_WEIGHT) > 0:
            kind, run = next((kind, list(run)) for kind, run in groupby(self._waiting, type))
            if kind is CalledPiece:
                run = run[:1]
            piece, rest = cut_piece(run[0] if len(run) == 1 else kind("".join(run)), fits)
            self._room -= weight_of(piece)
            self._waiting[: len(run)] = [rest] if rest else []
            self._send(piece)
            if not self._waiting and self._end is not None:
                self._end()
