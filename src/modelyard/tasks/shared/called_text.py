"""One answer of a model that may call functions, as it grows: content is passed on at once, of calls what they are made
with, and nothing else of their text."""

from __future__ import annotations

from modelyard.tasks.shared.told_calls import ToldCalls
from modelyard.tasks.shared.tool_calls import CallsRead, Offer, ToolCall, as_tool_call, longest_overlap


class CalledText:
    """One answer as it grows, told apart into content and calls."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._told = ToldCalls(offer.format, offer.names)
        self._held = ""
        self._is_calling = False
        self._is_content = False

    def push(self, piece: str) -> list[str]:
        """The content that is certain now, and what is new of calls."""
        self._held += piece
        content = "" if self._is_calling else self._take_content()
        told = self._told.read(self._held) if self._is_calling else []
        return [content, *told] if content else [*told]

    def _take_content(self) -> str:
        if not self._is_content and not self._held.strip():
            return ""  # blanks in front of a call are no content
        return self._begin() if self._offer.format.begins else self._find_mark()

    def finish(self, *, is_whole: bool) -> tuple[str, tuple[ToolCall, ...]]:
        """The rest of the content, and the calls. `is_whole` False: the text was cut, and so may its last call be; a
        call that is not whole is dropped. What the model ended itself and is no call is content. What was told as a
        whole call is one, whatever follows it."""
        held, self._held = self._held, ""
        if not self._is_calling:
            return held, ()
        read = self._offer.format.read(held, self._offer.names) or CallsRead(())
        told = self._told.whole
        if not (told or read.calls):
            return (held if is_whole or self._offer.format.begins else "", ())
        rest = read.rest if is_whole and len(read.calls) >= len(told) else ""
        return rest, (*told, *(as_tool_call(call) for call in read.calls[len(told) :]))

    def _begin(self) -> str:
        """For forms that are the whole answer: the text is either a call from its first character on, or none."""
        start = self._held.lstrip()
        marks = self._offer.format.marks
        if not self._is_content and any(start.startswith(mark) for mark in marks):
            self._is_calling = True
            return ""
        if not self._is_content and any(mark.startswith(start) for mark in marks):
            return ""
        return self._pass_on(len(self._held))

    def _find_mark(self) -> str:
        """For forms with a mark of their own: content up to the first one."""
        marks = self._offer.format.marks
        found = [at for mark in marks if (at := self._held.find(mark)) >= 0]
        if found:
            self._is_calling = True
            before, self._held = self._held[: min(found)], self._held[min(found) :]
            return before if self._is_content or before.strip() else ""
        return self._pass_on(len(self._held) - longest_overlap(self._held, marks))

    def _pass_on(self, end: int) -> str:
        content, self._held = self._held[:end], self._held[end:]
        if not self._is_content and not content.strip():
            self._held = content + self._held
            return ""
        self._is_content = True
        return content
