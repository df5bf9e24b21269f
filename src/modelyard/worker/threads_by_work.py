"""How many threads the operations of a model are shared by, of those that it may have: one, where what it computes is
over before a second thread would have been of use (docs/decisions/0085-threads-by-use.md). Pure.
"""

from __future__ import annotations

WORTH_SHARING_S = 0.0024
"""A batch that takes so long on one thread is shared. A BERT of 2 layers × 64 takes 0.7 ms, and 1.3 with two threads;
one of 4 × 256 takes 4.7, and 2.9 with two."""
STEADY_S = 2.0
"""For so long batches have to take that long: a runtime may need tens of milliseconds for another number of threads."""


class ThreadsByWork:
    """Decides it from what batches take. `allowed`: how many threads there are for it; may be changed."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self._chosen = allowed
        self._was_alone = False
        self._long_since: float | None = None

    def choose(self, batch_s: float | None, now_s: float) -> int:
        """By what a batch has taken of late, with as many threads as were chosen last; None: nobody knows."""
        if batch_s is None:
            self._long_since = None
            self._chosen = self.allowed
        elif min(self._chosen, self.allowed) > 1:
            self._chosen = 1 if batch_s < self._least_shared_s() else self.allowed
        else:
            self._was_alone = True
            self._chosen = 1
            if batch_s < WORTH_SHARING_S:
                self._long_since = None
            elif self._long_since is None:
                self._long_since = now_s
            elif self.allowed > 1 and now_s - self._long_since >= STEADY_S:
                self._long_since, self._chosen = None, self.allowed
        return self._chosen

    def _least_shared_s(self) -> float:
        """What takes less with several threads is not shared further. One that was once seen to take long without
        may have become as fast as it has threads, and only what is faster still has less to do than then."""
        return WORTH_SHARING_S / 2 if not self._was_alone else WORTH_SHARING_S / self._chosen / 2
