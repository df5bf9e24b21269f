"""Which form of a model serves from now on: itself, or a variant of it that answers equally, faster, in no more memory;
and how many threads it has at most.

Owns how two workers are compared, the rule, and which models are looked at at all; starts no worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from modelyard.catalog.library import NO_OPENVINO, has_openvino
from modelyard.errors import ModelRefused
from modelyard.jobs.benchmark import Figures
from modelyard.jobs.requests import Ask, Clock
from modelyard.records.models import Form, ModelCard
from modelyard.records.variants import EXACT_KINDS, IN_OPENVINO, VariantKind
from modelyard.tasks.base import Size, Task

MOST_DIFFERENCE = 1e-4
"""Of an output, over its standard deviation. What rounding makes of it where sums are added up in another order is at
1e-6 with small models, and at ten times that with deep ones."""
WORTHWHILE, NO_SLOWER = 1.15, 0.97
"""Whoever is to be replaced must be beaten by the one in some respect, and not by more than the other in any."""
TOGETHER = 16
"""Requests at once, where both are asked for many, and as many as the knee where that is more."""
FEWER_THREADS = 4
"""Threads are tried by powers of this, below the number of cores."""
FEWEST_ROUNDS, MOST_ROUNDS = 3, 15


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast another form is: one request of the smallest size, one of the largest, and many of the
    smallest at once. Medians of pairs."""

    smallest: float
    largest: float
    together: float

    @property
    def pays(self) -> bool:
        """Whether the other form is to serve, as far as speed is concerned."""
        each = (self.smallest, self.largest, self.together)
        return max(each) >= WORTHWHILE and min(each) >= NO_SLOWER

    def __str__(self) -> str:
        return (
            f"{self.smallest:.2f} × as fast with the smallest requests, {self.largest:.2f} × with the largest, "
            f"{self.together:.2f} × with many at once"
        )


def forms_here() -> Sequence[VariantKind]:
    """What is compared with an original: the same computation in 32 bits by each other program that is here."""
    return [kind for kind in EXACT_KINDS if kind != IN_OPENVINO or has_openvino()]


def check_makable(model_id: str, kind: VariantKind | None) -> None:
    """Raises ModelRefused when nothing here could hold a variant of that kind. `model_id`: the variant's."""
    if kind == IN_OPENVINO and not has_openvino():
        raise ModelRefused(f"{model_id} needs {NO_OPENVINO}.", model=model_id)


def may_have_other_form(card: ModelCard, task: Task) -> bool:
    """Whether a variant of the model could answer equally: one pass through plain weights in 32 bits."""
    plain = card.base is None and card.inspection.quantisation is None and card.inspection.precision is None
    trusted = not card.inspection.remote_code and not card.has_pickles
    in_one_pass = task.has_variants and task.answers_in_one_pass
    return card.inspection.runtime == "transformers" and in_one_pass and plain and trusted


async def compare_speed(
    original: Ask,
    other: Ask,
    smallest: Size,
    largest: Size,
    *,
    budget_s: float,
    knee: int = 1,
    clock: Clock = time.perf_counter,
) -> Speedup:
    """Asks two workers the same in turns, so that what else the machine does slows both. `knee`: of the original.
    Raises what they answer."""
    together = max(TOGETHER, knee)

    async def measure(ask: Ask, words: int = 0) -> tuple[float, float, float]:
        small = lengthen(smallest, words)
        one = (await ask(small.fields, small.params, False)).seconds
        large = (await ask(largest.fields, largest.params, False)).seconds
        began = clock()
        await asyncio.gather(*(ask(small.fields, small.params, False) for _ in range(together)))
        return one, large, clock() - began

    await measure(original), await measure(other)  # warms up
    end, rounds = clock() + budget_s, list[tuple[float, ...]]()
    while len(rounds) < FEWEST_ROUNDS or (len(rounds) < MOST_ROUNDS and clock() < end):
        words = len(rounds)
        if words % 2:
            theirs, own = await measure(other, words), await measure(original, words)
        else:
            own, theirs = await measure(original, words), await measure(other, words)
        rounds.append(tuple(slow / max(fast, 1e-6) for slow, fast in zip(own, theirs, strict=True)))
    return Speedup(*(median(ratios) for ratios in zip(*rounds, strict=True)))


def lengthen(size: Size, words: int) -> Size:
    """A request with so many words more, where it has a text. Each round asks for another length, as clients do: what
    a program makes anew for each counts."""
    text = size.fields.get("text")
    if not isinstance(text, str):
        return size
    return replace(size, fields={**size.fields, "text": text + " word" * words})


def find_obstacle(original: Figures, other: Figures, difference: float | None) -> str | None:
    """Why the other form must not serve, however fast it is; None when it may. `difference`: of the other's answers,
    see records.variants; None: unknown."""
    if original.peak_device_bytes or other.peak_device_bytes:
        return "an accelerator is used, which it cannot"
    if difference is None or difference > MOST_DIFFERENCE:
        return f"its answers differ by {'nobody knows how much' if difference is None else f'{difference:.2g}'}"
    if original.peak_bytes is None or other.peak_bytes is None or other.peak_bytes > original.peak_bytes:
        return "it needs more memory"
    return None


def choose_form(
    best: Form, kind: VariantKind, speedup: Speedup, original: Figures, other: Figures, difference: float | None
) -> Form:
    """The form that serves, where nothing keeps the other one, of that kind, from it, and why. `best`: what serves so
    far, against which `speedup` was measured."""
    memory = "" if not original.peak_bytes else f", {(other.peak_bytes or 0) / original.peak_bytes:.2f} × the memory"
    against = "" if best.variant is None else f" against {best.variant}"
    words = f"{kind}{against}: {speedup}{memory}, answers equal to {difference or 0:.1g}"
    return Form(kind if speedup.pays else best.variant, add_words(best, words))


def add_words(best: Form, words: str) -> str:
    """Why a form serves, with what one more comparison found."""
    return f"{best.why}; {words}" if best.why else words


def fewer_threads(cores: int | None) -> Sequence[int]:
    """The numbers of threads that are compared with as many as there are cores; none where nobody knows how many."""
    tried, threads = [], 1
    while cores is not None and threads < cores:
        tried.append(threads)
        threads *= FEWER_THREADS
    return tried


def with_threads(form: Form, found: Sequence[tuple[int, Speedup]], cores: int) -> Form:
    """The form with the first number of threads that pays, and why. `found`: of each that was tried, how many times as
    fast it is as `cores` threads."""
    for threads, speedup in found:
        if speedup.pays:
            return replace(form, threads=threads, why=f"{form.why}; {threads} of {cores} threads: {speedup}")
    return form
