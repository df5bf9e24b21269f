"""One answer as it grows, told apart: what is thought before it, what it says, and the functions that it calls."""

from __future__ import annotations

from typing import NamedTuple

from modelyard.protocol import CalledPiece, Thought
from modelyard.tasks.shared.called_text import CalledText
from modelyard.tasks.shared.thinking import Thinking, ThoughtText
from modelyard.tasks.shared.tool_calls import Offer, ToolCall


class Answer(NamedTuple):
    """A whole answer. `thinking` is empty where nothing was thought."""

    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class AnswerText:
    """See the module. Pieces go in as they are written and come out as they are certain: what was thought as Thoughts,
    what a call is made with as CalledPieces, the rest of its text never."""

    def __init__(self, offer: Offer | None = None, thinking: Thinking | None = None) -> None:
        """`offer`: functions that it may call. `thinking`: how it marks what is thought before it."""
        self._called = None if offer is None else CalledText(offer)
        self._thoughts = None if thinking is None else ThoughtText(thinking)
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._has_answered = False

    @property
    def is_thinking(self) -> bool:
        """Whether something is being thought, or was, and the answer has not begun."""
        if self._thoughts is None or self._has_answered:
            return False
        return self._thoughts.is_open or bool(self._thinking)

    def push(self, piece: str) -> list[str]:
        """Adds a piece; those that may be passed on now."""
        pieces = [piece] if self._thoughts is None else self._thoughts.push(piece)
        return self._sort(pieces)

    def finish(self, *, is_whole: bool) -> tuple[Answer, list[str]]:
        """The answer, after the last piece, and the pieces that are left. `is_whole` False: it was cut."""
        pieces = [] if self._thoughts is None else self._sort(self._thoughts.finish())
        tool_calls: tuple[ToolCall, ...] = ()
        if self._called is not None:
            rest, tool_calls = self._called.finish(is_whole=is_whole)
            pieces += self._keep([rest])
        return Answer("".join(self._content), "".join(self._thinking), tool_calls), pieces

    def _sort(self, pieces: list[str]) -> list[str]:
        passed: list[str] = []
        for piece in pieces:
            if isinstance(piece, Thought) or self._called is None:
                passed.append(piece)
            else:
                passed += self._called.push(piece)
            self._has_answered = self._has_answered or bool(piece and not isinstance(piece, Thought))
        return self._keep(passed)

    def _keep(self, pieces: list[str]) -> list[str]:
        for piece in pieces:
            if not isinstance(piece, CalledPiece):
                (self._thinking if isinstance(piece, Thought) else self._content).append(piece)
        return [piece for piece in pieces if piece]
