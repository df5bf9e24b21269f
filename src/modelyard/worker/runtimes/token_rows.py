"""Rows of a causal model that come and go between any two tokens, on torch.

Owns the batches that rows are read and stepped in, and the memory of their caches. Decides nothing about which rows
there are: a scheduler does.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch

from modelyard.protocol import CacheUse
from modelyard.tasks.token_model import Chosen, Failed
from modelyard.worker.runtimes.adapter_layers import LoraWeights, beside_rows
from modelyard.worker.runtimes.failures import batch_errors
from modelyard.worker.runtimes.generation_settings import resolve_settings
from modelyard.worker.runtimes.grammars import Grammars
from modelyard.worker.runtimes.kept_prefixes import (
    FEWEST_SHARED,
    MOST_COPIED,
    MOST_SPARE,
    KeptPrefixes,
    KeptRow,
    Parts,
    count_common,
)
from modelyard.worker.runtimes.linear_products import FEWEST_ROWS, LinearProducts
from modelyard.worker.runtimes.row_cache import GROWTH, RowCache
from modelyard.worker.runtimes.token_choice import (
    ChoicePlan,
    Choosing,
    PromptChoice,
    choose_tokens,
    plan_choice,
    score_tokens,
)

LENGTH_RATIO = 2.0
"""Rows in one batch differ in length by at most this factor: a short row costs as much as the longest beside it."""
LENGTH_SLACK = 256
"""... except that lengths (tokens) below this count as equal: a pass of its own costs more."""


class Row:
    """One row: a prompt's ids and what was chosen since. `lora`: what is beside the model's weights for it, if anything
    is. `read`: how many of them went through the model. `spared`: how many of its prompt were there already. `shared`:
    how many are known to be, when `shared_at` was counted."""

    __slots__ = ("batch", "choosing", "ids", "lora", "owner", "prompt_tokens", "read", "shared", "shared_at", "spared")

    def __init__(self, ids: Sequence[int], choosing: Choosing, owner: TokenRows, lora: LoraWeights | None) -> None:
        self.ids = list(ids)
        self.prompt_tokens = len(self.ids)
        self.read = self.spared = self.shared = 0
        self.shared_at = -1
        self.choosing = choosing
        self.owner = owner
        self.lora = lora
        self.batch: RowBatch | None = None

    @property
    def weights(self) -> object | None:
        """What tells the weights that read it from others: what rows of one have read is of no use to another's."""
        return None if self.lora is None else self.lora.mark

    @property
    def unread(self) -> int:
        """Tokens of it that are yet to be read before it can be stepped."""
        if self.batch is None:
            return len(self.ids) - self.owner.count_shared(self)
        return 0 if self.batch.is_stepped else len(self.ids) - self.read


class RowBatch:
    """Rows that go through the model together. `is_stepped`: they have been read to their end."""

    def __init__(self, cache: RowCache, rows: Sequence[Row]) -> None:
        """`rows`: none of which was read."""
        self.cache = cache
        self.rows = list(rows)
        self.is_stepped = False
        cache.open_rows(len(self.rows), max(len(row.ids) for row in self.rows) + 1)
        for row in self.rows:
            row.batch = self

    def take(self, other: RowBatch) -> None:
        """Takes over another's rows."""
        self.cache.join(other.cache)
        for row in other.rows:
            row.batch = self
        self.rows += other.rows

    def drop(self, row: Row) -> None:
        """Lets go of one row."""
        place = self.rows.index(row)
        self.cache.drop(place)
        last = self.rows.pop()
        if last is not row:
            self.rows[place] = last
        row.batch = None


class TokenRows:
    """See `tasks.token_model.TokenModel`."""

    def __init__(
        self,
        model: Any,
        defaults: Any,
        pad_token_id: int | None,
        window: int | None,
        cache_bytes: int,
        grammars: Grammars | None = None,
        *,
        keeps: bool = True,
        products: LinearProducts | None = None,
    ) -> None:
        """`model`: the library's, of an architecture that `allows_rows` allows. `defaults`: its own settings. `window`:
        most tokens of prompt and answer together, when limited. `cache_bytes`: what all rows may hold, those that
        are kept when they have ended among them. `grammars`: what texts may be held to; without it they are free.
        `keeps`: whether rows that have ended are kept. `products`: the model's, where it computes for others, too."""
        self._model = model
        self._grammars = grammars or Grammars(None, 0)
        self._defaults = defaults
        self._pad_token_id = pad_token_id
        self._window = window
        self._cache_bytes = cache_bytes
        self._column_bytes = 0
        self._keeps = keeps
        self._kept = KeptPrefixes()
        self._keepings = 0
        self._stepped: list[RowBatch] = []
        self._reading: list[RowBatch] = []
        accepted = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._products = products or LinearProducts(model)
        self._settings: dict[str, Any] = {"use_cache": True, "return_dict": True}
        if "logits_to_keep" in accepted:
            self._settings["logits_to_keep"] = 1

    # --- see TokenModel ---

    def cache_use(self) -> CacheUse | None:
        """See TokenModel."""
        if not self._column_bytes:
            return None
        return CacheUse(self._columns(0), self._kept.tokens, self._cache_bytes // self._column_bytes)

    def find_plan(self, options: Mapping[str, Any]) -> ChoicePlan | None:
        """See TokenModel."""
        settings = dict(options)
        logprobs = settings.pop("logprobs", None)
        config, seed = resolve_settings(self._defaults, settings, self._pad_token_id)
        form = options.get("form")
        opened = None if form is None else partial(self._grammars.open, form)
        return plan_choice(self._model, config, seed, self._window, opened, logprobs)

    def open_rows(self, ids: Sequence[int], plan: Any, model: Any = None) -> list[Row]:
        """See TokenModel."""
        choice = PromptChoice(plan, ids)
        lora = getattr(model, "lora", None)
        return [Row(ids, Choosing(choice, place), self, lora) for place in range(plan.sequences)]

    def has_room(self, prompts: Sequence[Sequence[Any]]) -> bool:
        """See TokenModel."""
        rows: list[Row] = list(chain.from_iterable(prompts))
        held, width = self._held_batches(), max(len(row.ids) for row in rows)
        columns = len(rows) * int(GROWTH * width) + self._columns(1)
        if (near := self._find_near(width)) is not None:
            columns += near.cache.columns_joined(len(rows), width) - near.cache.columns_with(1)
        return self._fits(columns) or (not held and len(prompts) == 1)

    def can_step(self) -> bool:
        """See TokenModel."""
        prompts = {row.choosing.choice for batch in self._held_batches() for row in batch.rows}
        return self._fits(self._columns(1)) or len(prompts) <= 1

    def read(self, prompts: Sequence[Sequence[Any]], most_tokens: int) -> Sequence[Chosen | Failed]:
        """See TokenModel."""
        rows: list[Row] = list(chain.from_iterable(prompts))
        try:
            with torch.inference_mode():
                batch = rows[0].batch or self._begin(rows)
            with torch.inference_mode(), batch_errors({"input_ids": torch.empty(len(rows), rows[0].unread)}):
                logits = self._read(batch, most_tokens)
                if logits is None:
                    return ()
                self._reading.remove(batch)
                self._start_stepping(batch)
                return choose_next(rows, logits)
        except Exception as error:  # noqa: BLE001 - whatever model code raises is its rows' affair
            self._forget(rows)
            return [Failed(rows, error)]

    def step(self) -> Iterator[Chosen | Failed]:
        """See TokenModel."""
        for batch in list(self._stepped):
            if batch in self._stepped:
                yield from self._step(batch)

    def set_back(self, rows: Sequence[Any]) -> None:
        """See TokenModel."""
        self._forget(rows)

    def release(self, rows: Sequence[Any]) -> None:
        """See TokenModel."""
        for row in rows:
            self._keep(row)
            self._forget([row])

    def is_being_read(self, rows: Sequence[Any]) -> bool:
        """See TokenModel."""
        row: Row = rows[0]
        others = [other for batch in self._reading for other in batch.rows if other.weights is row.weights]
        return any(count_common(other.ids, row.ids) - self.count_shared(row) >= FEWEST_SHARED for other in others)

    # --- what rows share ---

    def count_shared(self, row: Row) -> int:
        """How many of a row's first tokens need not be read, as they were for another; all but its last at most."""
        if row.shared_at != self._keepings:
            row.shared, row.shared_at = self._find_shared(row)[0], self._keepings
        return row.shared

    def _find_shared(self, new: Row) -> tuple[int, KeptRow | Row | None]:
        """How many first tokens of a row another one has, and which."""
        ids = new.ids
        held: list[tuple[KeptRow | Row, int]] = [(row, len(row.ids)) for row in self._kept]
        held += [(row, row.read) for batch in self._stepped for row in batch.rows]
        found = [
            (min(count_common(row.ids, ids), read, len(ids) - 1), row)
            for row, read in held
            if row.weights is new.weights
        ]
        length, row = max(found, key=lambda each: each[0], default=(0, None))
        return (length, row) if length >= FEWEST_SHARED else (0, None)

    def _begin(self, rows: Sequence[Row]) -> RowBatch:
        """A batch of rows of which nothing was read but what they share with others.

        All end at the same column, before and behind what is read next, so that rows longer than that are given so much
        of what they share that the rest has its length.
        """
        shared = [self._find_shared(row) for row in rows]
        new = max(len(row.ids) - length for row, (length, _) in zip(rows, shared, strict=True))
        given = [max(0, len(row.ids) - new) for row in rows]
        prefixes = [self._parts_of(source) if length else () for (_, source), length in zip(shared, given, strict=True)]
        batch = RowBatch(RowCache(self._model.config), rows)
        self._reading.append(batch)
        if any(given):
            batch.cache.begin_with(prefixes, given)
        for row, length in zip(rows, given, strict=True):
            row.read = length
            if len(row.ids) == row.prompt_tokens:
                row.spared = length
        return batch

    def _parts_of(self, source: KeptRow | Row | None) -> Parts:
        if isinstance(source, KeptRow):
            self._kept.note_use(source)
            return source.parts
        if source is None or source.batch is None:
            return ()
        return source.batch.cache.parts_of(source.batch.rows.index(source))

    def _keep(self, row: Row) -> None:
        """Keeps what is held of a row that ends, where there is room for it beside the others."""
        batch, ids = row.batch, row.ids[: row.read]
        if not self._keeps or batch is None or row.choosing.place > 0 or not self._kept.wants(ids, row.weights):
            return
        held = batch.cache.columns_with(0)
        takes_over = len(batch.rows) == 1 and len(ids) > MOST_COPIED and held <= MOST_SPARE * len(ids)
        room = self._cache_bytes // max(1, self._column_bytes) - self._columns(1) - (0 if takes_over else len(ids))
        if room < 0:
            return
        self._kept.drop_until(room)
        with torch.inference_mode():
            parts = batch.cache.parts_of(batch.rows.index(row))
            if not takes_over:
                parts = [(keys.clone(), values.clone()) for keys, values in parts]
        self._kept.keep(KeptRow(ids, parts, held if takes_over else len(ids), row.weights))
        self._keepings += 1

    # --- batches ---

    def _held_batches(self) -> list[RowBatch]:
        return [*self._stepped, *self._reading]

    def _columns(self, new: int) -> int:
        return sum(batch.cache.columns_with(new) for batch in self._held_batches())

    def _fits(self, columns: int) -> bool:
        """Whether so many columns may be held; what is kept of rows that have ended makes room for them."""
        if not self._column_bytes:
            return True
        room = self._cache_bytes // self._column_bytes - columns
        if room >= 0 or len(self._held_batches()) == 0:
            self._kept.drop_until(room)
        return room >= 0

    def _forget(self, rows: Sequence[Row]) -> None:
        """Takes rows out of their batches; a batch without rows is gone."""
        with torch.inference_mode():
            for row in rows:
                row.read = 0
                if (batch := row.batch) is not None:
                    batch.drop(row)
                    if not batch.rows:
                        (self._stepped if batch in self._stepped else self._reading).remove(batch)

    def _start_stepping(self, batch: RowBatch) -> None:
        """Puts rows that were read to those that are stepped, with others of their length where there are any."""
        batch.is_stepped = True
        self._keepings += 1
        if (near := self._find_near(batch.cache.width)) is not None:
            near.take(batch)
        else:
            self._stepped.append(batch)

    def _find_near(self, width: int) -> RowBatch | None:
        """Rows that are stepped of about such a length."""
        return next((batch for batch in self._stepped if are_near(batch.cache.width, width)), None)

    # --- passes ---

    def _read(self, batch: RowBatch, most_tokens: int) -> torch.Tensor | None:
        """Reads a piece of a batch; the last logits of each row once all were read."""
        rows = batch.rows
        longest = max(row.unread for row in rows)
        width = longest if len({row.choosing.choice for row in rows}) > 1 else min(longest, most_tokens)
        new = [min(width, row.unread) for row in rows]
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for place, (row, count) in enumerate(zip(rows, new, strict=True)):
            ids[place, width - count :] = torch.tensor(row.ids[row.read : row.read + count])
        logits = self._pass(batch, ids, new)
        return logits if width == longest else None

    def _step(self, batch: RowBatch) -> Sequence[Chosen | Failed]:
        rows = list(batch.rows)
        try:
            with torch.inference_mode(), batch_errors({"input_ids": torch.empty(len(rows), batch.cache.width)}):
                logits = self._pass(batch, torch.tensor([[row.ids[-1]] for row in rows]), [1] * len(rows))
                return choose_next(rows, logits)
        except Exception as error:  # noqa: BLE001 - as above
            self._forget(rows)
            return [Failed(rows, error)]

    def _pass(self, batch: RowBatch, ids: torch.Tensor, new: Sequence[int]) -> torch.Tensor:
        """One pass of a batch's rows in their order. `ids`: (rows, columns), of which row `i` fills the last `new[i]`.

        Returns the logits of the last column, (rows, vocabulary).
        """
        cache, columns = batch.cache, ids.shape[1]
        cache.prepare(columns)
        lengths = torch.tensor([length + more for length, more in zip(cache.lengths, new, strict=True)])
        places = torch.arange(-cache.width - columns, 0) + lengths[:, None]  # of each column, in its row
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": None}
        if int(lengths.min()) < cache.width + columns:
            given["attention_mask"] = (places >= 0).long()
        if self._takes_positions:
            given["position_ids"] = places[:, -columns:].clamp(min=0)
        device = self._model.device
        given = {name: value if value is None else value.to(device) for name, value in given.items()}
        products = self._products.in_use() if ids.numel() >= FEWEST_ROWS else nullcontext()
        with beside_rows([row.lora for row in batch.rows], columns), products:
            outputs = self._model(**given, past_key_values=cache, **self._settings)
        cache.advance(columns, new)
        for row, more in zip(batch.rows, new, strict=True):
            row.read += more
        self._column_bytes = self._column_bytes or cache.column_bytes()
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits


def are_near(one: int, other: int) -> bool:
    """Whether rows of such lengths, in tokens, are worth a batch together."""
    low, high = sorted((max(one, LENGTH_SLACK), max(other, LENGTH_SLACK)))
    return high <= low * LENGTH_RATIO


def choose_next(rows: Sequence[Row], logits: torch.Tensor) -> list[Chosen | Failed]:
    """Adds its next token to each row."""
    choosing = [row.choosing for row in rows]
    tokens = choose_tokens(choosing, logits)
    scores = score_tokens(choosing, tokens, logits)
    answers: list[Chosen | Failed] = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        if isinstance(token, Exception):
            answers.append(Chosen(row, error=token))
        else:
            row.ids.append(token)
            answers.append(Chosen(row, token, score=scores.get(place)))
    return answers
