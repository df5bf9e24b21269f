"""What a person sees on standard error while something takes long: a spinner or a bar on a terminal, lines elsewhere.

Owns the display; nothing is printed on standard output.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from modelyard.cli import output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY_S = 10.0
"""How often a download that nobody watches says how far it is."""


class Progress:
    """One long piece of work in steps; used as a context. On a terminal it leaves nothing behind."""

    def __init__(self, step: str) -> None:
        """`step`: what is done first, e.g. "looking for openai-community/gpt2"."""
        self._first = step
        self._bar: Bar | None = None
        self._printed_at = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                console=output.stderr(),
                transient=True,
            )
            self._task = self._bar.add_task(self._first, total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def step(self, words: str) -> None:
        """Goes on to the next step."""
        if self._bar is not None:
            self._bar.update(self._task, description=words, total=None, completed=0)

    def downloaded(self, done_bytes: int, total_bytes: int) -> None:
        """Says how far a download is."""
        if total_bytes == 0:
            return
        words = f"downloading {output.gigabytes(done_bytes / 1e9)} of {output.gigabytes(total_bytes / 1e9)}"
        if self._bar is not None:
            self._bar.update(self._task, description=words, total=total_bytes, completed=done_bytes)
        elif time.monotonic() - self._printed_at >= LINE_EVERY_S:
            self._printed_at = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Takes the display away. Idempotent."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
