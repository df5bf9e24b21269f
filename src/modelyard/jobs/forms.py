"""Which form of a model serves from now on: itself, or a variant of it that answers equally, faster, in no more memory.

Owns the rule, and which models are looked at at all; measures nothing.
"""

from __future__ import annotations

from modelyard.jobs.benchmark import Figures
from modelyard.records.models import Form, ModelCard
from modelyard.records.variants import VariantKind
from modelyard.tasks.base import Task

OTHER_FORM: VariantKind = "onnx"
"""What is compared with the original: the same computation in 32 bits by another program."""
MOST_DIFFERENCE = 1e-4
"""Of an output, over its standard deviation. What rounding makes of it where sums are added up in another order is at
1e-6 with small models, and at ten times that with deep ones."""
WORTHWHILE = 1.15
"""Whoever is to be replaced must be beaten by this much, one by one or in batches: figures of two runs drift."""


def may_have_other_form(card: ModelCard, task: Task) -> bool:
    """Whether a variant of the model could answer equally: one pass through plain weights in 32 bits."""
    plain = card.base is None and card.inspection.quantisation is None and card.inspection.precision is None
    trusted = not card.inspection.remote_code and not card.has_pickles
    return (
        task.has_variants
        and task.generation is None
        and card.inspection.runtime == "transformers"
        and (plain and trusted)
    )


def choose_form(original: Figures, other: Figures, difference: float | None) -> Form:
    """The form that serves. `difference`: of the other's answers, see records.variants; None: unknown."""
    alone = other.requests_per_s / original.requests_per_s
    batched = other.requests_per_s_at_knee / original.requests_per_s_at_knee
    words = f"{OTHER_FORM}: {alone:.2f} × the requests/s one by one, {batched:.2f} × in batches"
    if original.peak_device_bytes or other.peak_device_bytes:
        return Form(None, f"{words}; not compared further, as an accelerator is used")
    if difference is None or difference > MOST_DIFFERENCE:
        return Form(None, f"{words}, but its answers differ by {difference or 0:.1g} of their spread")
    if original.peak_bytes is None or other.peak_bytes is None or other.peak_bytes > original.peak_bytes:
        return Form(None, f"{words}, but it does not need less memory")
    words += f", {other.peak_bytes / original.peak_bytes:.2f} × the memory, answers equal to {difference:.1g}"
    faster = max(alone, batched) >= WORTHWHILE and min(alone, batched) >= 1
    return Form(OTHER_FORM if faster else None, words)
