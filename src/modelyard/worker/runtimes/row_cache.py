"""Keys and values of rows that come and go, as one of the library's caches.

Rows end at the same column and begin where their length says, as in a batch that is padded on the left; so masks,
windows and positions are the library's own for such a batch, whatever the architecture. Joining, leaving and moving to
another column are copies here. Knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DummyLayer, get_layer_types_and_kwargs

from modelyard.worker.runtimes.kept_prefixes import Parts

LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "chunked_attention", "dummy"})
"""The library's names of layers whose cache is keys and values, one of each per token; a dummy one has none."""

COLUMN_STEP = 64
"""Columns are allocated in steps of so many, and half again as many as needed: each copy moves all that is held."""
GROWTH = 1.5


class RowCache(Cache):  # type: ignore[misc]  # the library is untyped
    """The keys and values of some rows: the columns from `start` to `end`, of which row `i` fills the last
    `lengths[i]`."""

    def __init__(self, config: Any) -> None:
        """`config`: the model's; its layers are all of LAYER_TYPES. Holds no rows."""
        types, arguments = get_layer_types_and_kwargs(config.get_text_config(decoder=True))
        self.lengths: list[int] = []
        self.start = self.end = 0
        self._row_capacity = self._capacity = 0
        layers = [
            DummyLayer() if kind == "dummy" else RowLayer(self, given.get("sliding_window"))
            for kind, given in zip(types, arguments, strict=True)
        ]
        super().__init__(layers=layers)
        self._held = [layer for layer in layers if isinstance(layer, RowLayer)]

    @property
    def width(self) -> int:
        """Columns that are held."""
        return self.end - self.start

    def column_bytes(self) -> int:
        """What one token of one row takes; 0 before anything was read."""
        return sum(layer.column_bytes() for layer in self._held)

    def columns_with(self, new: int) -> int:
        """Columns that are allocated once there is room for so many new ones, in all rows together."""
        if self.end + new <= self._capacity:
            return self._row_capacity * self._capacity
        return len(self.lengths) * self._capacity_for(self.width + new)

    def columns_joined(self, rows: int, width: int) -> int:
        """Columns that are allocated once so many rows of that length have joined."""
        return self._rows_for(len(self.lengths) + rows) * self._capacity_for(max(self.width, width) + 1)

    def _rows_for(self, rows: int) -> int:
        """Rows to allocate for so many, and some more to come."""
        return self._row_capacity if rows <= self._row_capacity else max(rows, int(self._row_capacity * GROWTH))

    def _capacity_for(self, columns: int) -> int:
        """Columns to allocate for so many, and some more to come."""
        wanted = int(columns * GROWTH)
        return self._capacity if wanted <= self._capacity else -(-wanted // COLUMN_STEP) * COLUMN_STEP

    def open_rows(self, count: int, columns: int) -> None:
        """Makes place for so many rows, where there are none. `columns`: as many as they are going to have when they
        were read; allocated at once, since moving what a long prompt holds takes as long as several steps."""
        self.lengths = [0] * count
        self._row_capacity = count
        self._capacity = self._capacity_for(columns)

    def begin_with(self, prefixes: Sequence[Parts], lengths: Sequence[int]) -> None:
        """Has row `i`, of which nothing was read, begin with the first `lengths[i]` tokens of `prefixes[i]`."""
        end = max(lengths)
        for number, layer in enumerate(self._held):
            layer.fill([None if not parts else parts[number] for parts in prefixes], lengths, end)
        self.lengths = list(lengths)
        self.start, self.end = 0, end

    def parts_of(self, row: int) -> Parts:
        """What is held of a row, not copied: the next pass may change it."""
        columns = slice(self.end - self.lengths[row], self.end)
        return [(layer.keys[row, :, columns], layer.values[row, :, columns]) for layer in self._held]

    def prepare(self, new: int) -> None:
        """Makes room for so many more columns."""
        if self.end + new > self._capacity:
            self._move(len(self.lengths), len(self.lengths), self.width, new)

    def advance(self, columns: int, new: Sequence[int]) -> None:
        """A pass has written so many columns; row `i` fills the last `new[i]` of them."""
        self.end += columns
        self.lengths = [length + more for length, more in zip(self.lengths, new, strict=True)]
        self.start = self.end - max(self.lengths)

    def join(self, other: RowCache) -> None:
        """Takes over the rows of `other`, behind its own."""
        count, rows = len(self.lengths), len(self.lengths) + len(other.lengths)
        if rows > self._row_capacity or other.width > self.end:
            self._move(count, self._rows_for(rows), max(self.width, other.width), 1)
        for layer, given in zip(self._held, other._held, strict=True):
            layer.take(given, slice(count, rows), len(other.lengths), self.end, other.start, other.end)
        self.lengths += other.lengths
        self.start = self.end - max(self.lengths)

    def drop(self, row: int) -> None:
        """Lets go of one row; the last one takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            columns = slice(self.end - self.lengths[last], self.end)
            for layer in self._held:
                layer.replace(row, last, columns, self.end)
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        self.start = self.end - max(self.lengths, default=0)

    def _move(self, rows: int, row_capacity: int, width: int, new: int) -> None:
        """Puts the rows so that `width` columns end where they do, with room for `new` more behind."""
        capacity = self._capacity_for(width + new)
        for layer in self._held:
            layer.resize(rows, row_capacity, capacity, width, self.start, self.end)
        self._row_capacity, self._capacity = row_capacity, capacity
        self.start, self.end = width - self.width, width


class RowLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values: (rows, heads, columns, width of a head)."""

    def __init__(self, cache: RowCache, window: int | None) -> None:
        """`window`: how many tokens back the layer looks, its own included; None: to the first."""
        super().__init__()
        self._cache = cache
        self._window = window
        self.is_sliding = window is not None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocates what `RowCache` has asked for. What masked passes read before it is written, `resize` and `take`
        empty: the rest need not be touched yet, which would take time at once."""
        cache = self._cache
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            states.new_empty(cache._row_capacity, states.shape[1], cache._capacity, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def column_bytes(self) -> int:
        """What one token takes."""
        if not self.is_initialized:
            return 0
        return sum(part.shape[1] * part.shape[3] * part.element_size() for part in (self.keys, self.values))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a pass's keys and values; returns all that it looks at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, new, end = key_states.shape[0], key_states.shape[2], self._cache.end
        self.keys[:rows, :, end : end + new] = key_states
        self.values[:rows, :, end : end + new] = value_states
        seen = slice(end - self._columns_before(), end + new)
        return self.keys[:rows, :, seen], self.values[:rows, :, seen]

    def _columns_before(self) -> int:
        """Of those that are held, how many the next pass looks at."""
        width = self._cache.width
        return width if self._window is None else min(width, self._window - 1)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns a pass looks at, and which of those held is the first of them."""
        before = self._columns_before()
        return before + query_length, self._cache.width - before

    def get_seq_length(self) -> int:
        """Columns that are held."""
        return self._cache.width

    def get_max_length(self) -> int:
        """No maximum."""
        return -1

    def resize(self, rows: int, row_capacity: int, capacity: int, new_end: int, start: int, end: int) -> None:
        """Moves `rows` rows, the columns from `start` to `end`, so that they end at `new_end`, and empties what is
        before them, which longer rows to come will have them masked for: in a mask only numbers do no harm."""
        if not self.is_initialized:
            return
        place = slice(new_end - (end - start), new_end)
        parts = []
        for old in (self.keys, self.values):
            new = old.new_empty(row_capacity, old.shape[1], capacity, old.shape[3])
            new[:rows, :, : place.start] = 0
            new[:rows, :, place] = old[:rows, :, start:end]
            parts.append(new)
        self.keys, self.values = parts

    def take(self, given: RowLayer, places: slice, rows: int, end: int, start: int, given_end: int) -> None:
        """Copies `rows` rows of another cache to the rows `places`, and empties what is before them: whatever was held
        there may be no numbers."""
        if not given.is_initialized:
            return
        if not self.is_initialized:
            self.lazy_initialization(given.keys, given.values)
        width = given_end - start
        for own, new in ((self.keys, given.keys), (self.values, given.values)):
            own[places, :, : end - width] = 0
            own[places, :, end - width : end] = new[:rows, :, start:given_end]

    def fill(
        self, prefixes: Sequence[tuple[torch.Tensor, torch.Tensor] | None], lengths: Sequence[int], end: int
    ) -> None:
        """Has row `i` hold the first `lengths[i]` tokens of `prefixes[i]` up to the column `end`, and zeros before."""
        keys, values = next(given for given in prefixes if given is not None)
        self.lazy_initialization(keys[None], values[None])
        for row, (given, length) in enumerate(zip(prefixes, lengths, strict=True)):
            for own, new in zip((self.keys, self.values), given or (), strict=False):
                own[row, :, end - length : end] = new[:, :length]
            for own in (self.keys, self.values):
                own[row, :, : end - length] = 0

    def replace(self, row: int, last: int, columns: slice, end: int) -> None:
        """Copies a row over another, of which nothing is left."""
        for part in (self.keys, self.values):
            if self.is_initialized:
                part[row, :, : columns.start] = 0
                part[row, :, columns] = part[last, :, columns]
