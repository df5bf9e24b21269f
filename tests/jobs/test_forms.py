"""Which form of a model serves: by figures alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.jobs.benchmark import Figures
from modelyard.jobs.forms import choose_form, may_have_other_form
from modelyard.records.models import Inspection, ModelCard, Source
from modelyard.tasks.registry import get_task
from modelyard.units import MIB

FIGURES = Figures(
    load_s=1.0, peak_bytes=200 * MIB, latency_ms={"short": 5.0}, largest="short", requests_per_s=100.0,
    requests_per_s_at_knee=300.0, knee=8, streams=False,
)  # fmt: skip
EQUAL = 2e-6


def faster(alone: float = 2.0, batched: float = 2.0, **more: Any) -> Figures:
    changes = {"peak_bytes": 150 * MIB, **more}
    return replace(FIGURES, requests_per_s=100 * alone, requests_per_s_at_knee=300 * batched, **changes)


@pytest.mark.parametrize(
    ("other", "difference", "variant"),
    [
        (faster(), EQUAL, "onnx"),
        (faster(1.2, 1.0), EQUAL, "onnx"),
        (faster(1.0, 1.2), EQUAL, "onnx"),
        (faster(1.1, 1.1), EQUAL, None),
        (faster(3.0, 0.9), EQUAL, None),
        (faster(0.9, 3.0), EQUAL, None),
        (faster(peak_bytes=200 * MIB), EQUAL, "onnx"),
        # A bill never rises by it.
        (faster(peak_bytes=200 * MIB + 1), EQUAL, None),
        (faster(peak_bytes=None), EQUAL, None),
        # Answers are the same, or it is another model.
        (faster(), 1e-4, "onnx"),
        (faster(), 1.1e-4, None),
        (faster(), None, None),
        (faster(), float("inf"), None),
        # What uses an accelerator is not compared with what cannot.
        (faster(peak_device_bytes=1), EQUAL, None),
    ],
)
def test_the_faster_of_two_that_answer_equally_serves(
    other: Figures, difference: float | None, variant: str | None
) -> None:
    assert choose_form(FIGURES, other, difference).variant == variant


def test_the_figures_are_told() -> None:
    why = choose_form(FIGURES, faster(2.4, 1.5), EQUAL).why
    assert why == (
        "onnx: 2.40 × the requests/s one by one, 1.50 × in batches, 0.75 × the memory, answers equal to 2e-06"
    )


CARD = ModelCard("a/m", "text-classification", Source.FOLDER, 100 * MIB, Inspection("text-classification"))


@pytest.mark.parametrize(
    ("card", "task", "may"),
    [
        (CARD, "text-classification", True),
        (CARD, "feature-extraction", True),
        # What writes texts takes many passes, which are compared by other figures.
        (CARD, "text-generation", False),
        (CARD, "automatic-speech-recognition", False),
        (replace(CARD, base=CARD), "text-classification", False),
        (replace(CARD, inspection=Inspection(library="onnx")), "text-classification", False),
        (replace(CARD, inspection=Inspection(quantisation="fp8")), "text-classification", False),
        (replace(CARD, inspection=Inspection(precision="bf16")), "text-classification", False),
        (replace(CARD, inspection=Inspection(remote_code=True)), "text-classification", False),
        (replace(CARD, inspection=Inspection(pickle_only=True)), "text-classification", False),
    ],
)
def test_only_plain_models_that_answer_in_one_pass_have_another_form(card: ModelCard, task: str, may: bool) -> None:
    assert may_have_other_form(card, get_task(task)) is may
