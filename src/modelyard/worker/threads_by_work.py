"""How many threads the operations of a model are shared by, of those that it may have: all, or one where the others
bring too little (docs/decisions/0085-threads-by-use.md). Decides it by what batches of the same size have taken.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from statistics import median

SAMPLES = 5
"""Of so many batches either way the medians are compared."""
GAIN = 0.85
"""What a batch has to take at most with all threads, of its time on one. A BERT of 4 × 256 takes 0.6 with two."""
LONG_S = 0.05
"""A batch that may take longer on one thread has all of them, and is not tried on one: its operations are long."""
LEAST_REST_S, MOST_REST_S = 1.0, 32.0
"""Once batches of a size have taken so long in all, it is compared again: the first may have had more to do, and what
else the machine does may change. Each time that the same is found it rests for twice as long, until the latter."""
STEADY = 10
"""A number of threads stays for so many times what the first batch with it has taken, and no batch counts before: the
first has a new session to make where the runtime is ONNX Runtime or OpenVINO, in tens of milliseconds."""


class Comparison:
    """What batches of one size have taken on one thread and with all of them."""

    def __init__(self) -> None:
        self.is_long = False
        self._gains = True
        self._rest_s = LEAST_REST_S
        self._left_s = 0.0
        self._took_s = {shared: deque[float](maxlen=SAMPLES) for shared in (True, False)}

    def next_is_shared(self) -> bool:
        """Whether the next batch should have all threads: as before, then the other way, then by what was found."""
        if self.is_long or self._left_s > 0 or len(self._took_s[self._gains]) < SAMPLES:
            return self.is_long or self._gains
        return not self._gains

    def note(self, took_s: float, threads: int, *, counts: bool) -> None:
        """A batch has taken so long with so many threads. `counts`: it is one to compare."""
        self.is_long = took_s * threads > LONG_S
        if self._left_s > 0:
            self._left_s -= took_s
            return
        if not counts:
            return
        self._took_s[threads > 1].append(took_s)
        if all(len(seen) == SAMPLES for seen in self._took_s.values()):
            gains = median(self._took_s[True]) < GAIN * median(self._took_s[False])
            self._rest_s = min(2 * self._rest_s, MOST_REST_S) if gains == self._gains else LEAST_REST_S
            self._gains, self._left_s = gains, self._rest_s
            for seen in self._took_s.values():
                seen.clear()


class ThreadsByWork:
    """Sets a model's threads before each batch. `allowed`: how many there are for it; any thread may change it. All
    else is for the model's thread."""

    def __init__(self, allowed: int, set_threads: Callable[[int], None]) -> None:
        """`allowed` are set already; `set_threads` sets another number."""
        self.allowed = allowed
        self._set_threads = set_threads
        self._most = self._threads = allowed
        self._comparisons: defaultdict[tuple[int, int], Comparison] = defaultdict(Comparison)
        self._comparison: Comparison | None = None
        self._is_first = False
        self._first_took_s = 0.0
        self._took_since_s = 0.0

    def prepare(self, size: int | None = None) -> None:
        """Sets them for a batch of this size: its rows times the longest length, in any unit. None: what a batch takes
        does not follow from its size, so that it has all threads."""
        most = self.allowed
        comparison = None if size is None or most == 1 else self._comparisons[most, size.bit_length()]
        threads = most if comparison is None or comparison.next_is_shared() else 1
        must = most != self._most or comparison is None or comparison.is_long
        self._most, self._comparison = most, comparison
        if threads != self._threads and (must or self._is_steady):
            self._threads, self._is_first = threads, True
            self._set_threads(threads)

    def note(self, took_s: float) -> None:
        """The batch that was prepared last has taken so long."""
        if self._is_first:
            self._is_first, self._first_took_s, self._took_since_s = False, took_s, 0.0
            return
        self._took_since_s += took_s
        if self._comparison is not None:
            self._comparison.note(took_s, self._threads, counts=self._is_steady)

    @property
    def _is_steady(self) -> bool:
        return self._took_since_s >= STEADY * self._first_took_s
