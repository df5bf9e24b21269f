"""What models write between marks of their own before they answer: how each family marks it, and a text told apart.

Sources: the chat templates that come with the models, which write these marks or take them out of earlier answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from modelyard.protocol import Thought
from modelyard.tasks.shared.tool_calls import longest_overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingFormat:
    """How a family of models marks what it thinks.

    `open`, `close`: around it. `frames`: marks of the answer, which are no part of it. `lead`: what an answer begins
    with, behind the thinking or without any; `between`: what stands between the two. `anywhere`: thinking may begin
    again behind a part of the answer; elsewhere it comes first or not at all. `tokens`: special tokens that the marks
    are made of, which the text must keep. `known_by`: a template that has one of these writes, or reads, these marks.
    """

    name: str
    open: str
    close: str
    frames: tuple[str, ...] = ()
    lead: str = ""
    between: str = ""
    anywhere: bool = False
    tokens: tuple[str, ...] = ()
    known_by: tuple[str, ...]


class Thinking(NamedTuple):
    """What is expected of one answer. `opened`: the prompt ends with the opening mark, which the answer has not."""

    format: ThinkingFormat
    opened: bool


FORMATS = (
    ThinkingFormat(
        name="harmony",
        open="<|channel|>analysis<|message|>",
        close="<|end|>",
        frames=(
            "<|start|>assistant",
            "<|channel|>final<|message|>",
            "<|channel|>commentary<|message|>",
            "<|end|>",
        ),
        lead="<|channel|>final<|message|>",
        between="<|start|>assistant",
        anywhere=True,
        tokens=("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"),
        known_by=("<|channel|>analysis",),
    ),
    ThinkingFormat(
        name="gemma",
        open="<|channel>thought\n",
        close="<channel|>",
        anywhere=True,
        tokens=("<|channel>", "<channel|>"),
        known_by=("<|channel>thought", "<channel|>"),
    ),
    ThinkingFormat(
        name="cohere",
        open="<|START_THINKING|>",
        close="<|END_THINKING|>",
        frames=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        lead="<|START_RESPONSE|>",
        tokens=("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        known_by=("<|START_THINKING|>",),
    ),
    ThinkingFormat(
        name="mistral",
        open="[THINK]",
        close="[/THINK]",
        tokens=("[THINK]", "[/THINK]"),
        known_by=("[THINK]",),
    ),
    ThinkingFormat(
        name="seed",
        open="<seed:think>",
        close="</seed:think>",
        tokens=("<seed:think>", "</seed:think>"),
        known_by=("<seed:think>",),
    ),
    ThinkingFormat(
        name="kimi",
        open="◁think▷",
        close="◁/think▷",
        tokens=("◁think▷", "◁/think▷"),
        known_by=("◁think▷", "◁/think▷"),
    ),
    ThinkingFormat(
        name="granite",
        open="Here is my thought process:",
        close="Here is my response:",
        known_by=("Here is my thought process:",),
    ),
    ThinkingFormat(
        name="think",
        open="<think>",
        close="</think>",
        tokens=("<think>", "</think>"),
        known_by=("<think>", "</think>"),
    ),
)
"""DeepSeek, Qwen and most others write as the last; the marks of the others are unlike it."""


def find_thinking_format(template: str) -> ThinkingFormat | None:
    """How a model with this chat template marks what it thinks; None: it does not, as far as the template shows."""
    return next((each for each in FORMATS if any(mark in template for mark in each.known_by)), None)


def find_thinking(template: str, prompt: str) -> Thinking | None:
    """What is to be expected of the answer to a rendered prompt; None: an answer alone, as when the template has closed
    an empty thinking already."""
    found = find_thinking_format(template)
    return None if found is None else find_opened(found, prompt)


def find_opened(marks: ThinkingFormat, prompt: str) -> Thinking | None:
    """What is to be expected of an answer by the end of its prompt; see `find_thinking`."""
    end = prompt.rstrip()
    if end.endswith(marks.close):
        return None
    return Thinking(marks, opened=end.endswith(marks.open.rstrip()))


class ThoughtText:
    """One answer as it grows, told apart into thinking and the rest. `is_open`: what comes next is thinking.

    Blanks around the thinking are dropped. An answer without any is passed on as it is.
    """

    def __init__(self, thinking: Thinking) -> None:
        self.is_open = thinking.opened
        self._format = thinking.format
        self._held = ""
        self._has_thought = False
        self._follows_mark = False
        self._has_begun = False

    def push(self, piece: str) -> list[str]:
        """The pieces that are certain now; what was thought is a Thought."""
        self._held += piece
        pieces = []
        while (part := self._next()) is not None:
            if part:
                pieces.append(part)
        return pieces

    def finish(self) -> list[str]:
        """The rest, at the end of the text."""
        held, self._held = self._held, ""
        if self.is_open:
            held = self._think(held.rstrip())
        elif self._follows_mark and not self._has_begun:
            held = held.lstrip()
        return [held] if held else []

    def _next(self) -> str | None:
        """The next piece, which may be empty; None: more text must come first."""
        if self.is_open:
            return self._next_thought()
        if not self._has_begun and not self._begin():
            return None if not self.is_open and self._waits() else ""
        return self._next_content() if self._has_begun else ""

    def _next_thought(self) -> str | None:
        at = self._held.find(self._format.close)
        if at >= 0:
            text, self._held = self._held[:at], self._held[at + len(self._format.close) :]
            self.is_open, self._follows_mark, self._has_begun = False, True, False
            return self._think(text.rstrip())
        ready = self._held[: len(self._held) - longest_overlap(self._held, (self._format.close,))].rstrip()
        self._held = self._held[len(ready) :]
        return self._think(ready) or None

    def _think(self, text: str) -> str:
        if not self._has_thought:
            text = text.lstrip()
        self._has_thought = self._has_thought or bool(text)
        return Thought(text)

    def _begin(self) -> bool:
        """Looks at what the rest begins with: a mark, which is taken out, or the answer itself: True."""
        start = self._held.lstrip()
        for mark in (self._format.open, *self._format.frames):
            if start.startswith(mark):
                self._held = start[len(mark) :]
                self._follows_mark = True
                self.is_open = mark == self._format.open
                return False
        if self._waits():
            return False
        if self._follows_mark:
            self._held = start
        self._has_begun = True
        return True

    def _waits(self) -> bool:
        """Whether what is held may still become a mark, or is nothing but blanks."""
        start = self._held.lstrip()
        return any(mark.startswith(start) for mark in (self._format.open, *self._format.frames))

    def _next_content(self) -> str | None:
        form = self._format
        marks = (form.open, *form.frames) if form.anywhere else form.frames
        found = min(((at, mark) for mark in marks if (at := self._held.find(mark)) >= 0), default=None)
        if found is not None:
            at, mark = found
            text, self._held = self._held[:at], self._held[at + len(mark) :]
            self.is_open = mark == form.open
            return text
        end = len(self._held) - longest_overlap(self._held, marks)
        text, self._held = self._held[:end], self._held[end:]
        return text or None
