"""One sequence's text as it grows: decoded, cut at the stop strings, told apart, sent on to whoever streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.tasks.base import Call
from modelyard.tasks.shared.answer_text import Answer, AnswerText
from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.tool_calls import longest_overlap


class GeneratedText:
    """See the module."""

    def __init__(
        self,
        call: Call[Any, GenerationParams],
        detokenizer: Detokenizer,
        *,
        streams: bool,
        answer: AnswerText | None = None,
    ) -> None:
        """`streams` False keeps the call's `emit` out of it. `answer` tells thinking and calls of functions from the
        content. Read only: `tokens` taken, `thought_tokens` of them before the answer began, whether it is `stopped`,
        at which `stop` string."""
        stop = call.params.stop
        self._stops = [stop] if isinstance(stop, str) else list(stop or ())
        self._detokenizer = detokenizer
        self._emit = call.emit if streams else None
        self._answer = answer
        self._sent: list[str] = []
        self._held = ""
        self.stopped = False
        self.stop: str | None = None
        self.tokens = 0
        self.thought_tokens = 0

    def take(self, tokens: Sequence[int]) -> bool:
        """Adds tokens; True when a stop string has ended the text."""
        for token in tokens:
            if self.stopped:
                break
            self.tokens += 1
            self._add(self._detokenizer.push((token,)))
            if self._answer is not None and self._answer.is_thinking:
                self.thought_tokens = self.tokens
        return self.stopped

    def finish(self, *, is_whole: bool = True) -> Answer:
        """The whole text, after the last token, told apart. `is_whole` False: it was cut."""
        if not self.stopped:
            self._add(self._detokenizer.finish())
        if not self.stopped:
            self._send(self._held)
        self._held = ""
        if self._answer is None:
            return Answer("".join(self._sent))
        answer, pieces = self._answer.finish(is_whole=is_whole)
        for piece in pieces:
            self._pass_on(piece)
        return answer

    def _add(self, piece: str) -> None:
        """Sends what cannot be part of a stop string any more and holds the rest."""
        if not piece:
            return
        text = self._held + piece
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        self.stopped = bool(found)
        kept = len(text) - longest_overlap(text, self._stops)
        end, self.stop = min(found) if found else (kept, None)
        self._send(text[:end])
        self._held = text[end:]

    def _send(self, text: str) -> None:
        if self._answer is None:
            self._pass_on(text)
            return
        for piece in self._answer.push(text):
            self._pass_on(piece)

    def _pass_on(self, text: str) -> None:
        if text:
            self._sent.append(text)
            if self._emit is not None:
                self._emit(text)
