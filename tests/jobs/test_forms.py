"""Which form of a model serves: how two are compared, and by what figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from modelyard.jobs.benchmark import Figures
from modelyard.jobs.forms import (
    Speedup,
    choose_form,
    compare_speed,
    fewer_threads,
    find_obstacle,
    may_have_other_form,
    with_threads,
)
from modelyard.jobs.requests import Reply
from modelyard.records.models import Form, Inspection, ModelCard, Source
from modelyard.tasks.base import Size
from modelyard.tasks.registry import get_task
from modelyard.units import MIB

OWN = Figures(
    load_s=1.0, peak_bytes=200 * MIB, latency_ms={"short": 5.0}, largest="short", requests_per_s=100.0,
    requests_per_s_at_knee=300.0, knee=8, streams=False,
)  # fmt: skip
OTHER = replace(OWN, peak_bytes=150 * MIB)
EQUAL = 2e-6
AS_IT_IS = Form(None, "")
SMALL, LARGE = (Size(f"{count} tokens", {"text": "word " * count}, tokens=count) for count in (10, 100))


class Worker:
    """Answers after as long as it takes, by a clock of its own that both share; what else runs slows the one whose turn
    it is."""

    def __init__(self, now: list[float], asked: list[str], name: str, token_s: float) -> None:
        self._now, self._asked, self._name, self._token_s = now, asked, name, token_s

    async def ask(self, fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        self._asked.append(self._name)
        slowed = 5.0 if 40 < len(self._asked) < 90 else 1.0
        seconds = slowed * self._token_s * len(fields["text"].split())
        self._now[0] += seconds
        return Reply(seconds)


async def test_two_forms_are_asked_in_turns_and_what_slows_both_shows_in_neither() -> None:
    now, asked = [0.0], list[str]()
    own, other = Worker(now, asked, "own", 0.004), Worker(now, asked, "other", 0.002)
    speedup = await compare_speed(own.ask, other.ask, SMALL, LARGE, budget_s=20.0, clock=lambda: now[0])
    assert (speedup.smallest, speedup.largest, speedup.together) == pytest.approx((2.0, 2.0, 2.0))
    assert asked.count("own") == asked.count("other") >= 4 * 18


async def test_many_at_once_are_as_many_as_the_best_batch_has() -> None:
    now, asked = [0.0], list[str]()
    own, other = Worker(now, asked, "own", 0.004), Worker(now, asked, "other", 0.002)
    await compare_speed(own.ask, other.ask, SMALL, LARGE, budget_s=0.0, knee=32, clock=lambda: now[0])
    assert asked.count("own") == 4 * (1 + 1 + 32)


async def test_each_round_asks_both_for_texts_of_another_length() -> None:
    now, seen = [0.0], {"own": list[int](), "other": list[int]()}

    async def ask(name: str, fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        seen[name].append(len(fields["text"].split()))
        return Reply(0.01)

    await compare_speed(partial(ask, "own"), partial(ask, "other"), SMALL, LARGE, budget_s=0.0, clock=lambda: now[0])
    assert seen["own"] == seen["other"]
    assert [sorted(set(seen["own"][at : at + 18])) for at in range(18, 72, 18)] == [[10, 100], [11, 100], [12, 100]]


@pytest.mark.parametrize(("cores", "tried"), [(None, []), (1, []), (2, [1]), (4, [1]), (8, [1, 4]), (64, [1, 4, 16])])
def test_fewer_threads_than_cores_are_tried(cores: int | None, tried: list[int]) -> None:
    assert fewer_threads(cores) == tried


def test_fewer_threads_are_taken_where_they_are_faster_and_slower_in_nothing() -> None:
    form, faster, mixed = Form("onnx", "why"), Speedup(1.3, 1.0, 1.0), Speedup(1.3, 0.6, 1.0)
    assert with_threads(form, [(1, mixed)], 4) == form
    chosen = with_threads(form, [(1, mixed), (4, faster)], 8)
    assert (chosen.variant, chosen.threads) == ("onnx", 4)
    assert chosen.why == (
        "why; 4 of 8 threads: 1.30 × as fast with the smallest requests, 1.00 × with the largest, "
        "1.00 × with many at once"
    )


@pytest.mark.parametrize(
    ("speedup", "pays"),
    [
        (Speedup(2.0, 2.0, 2.0), True),
        (Speedup(1.15, 1.0, 1.0), True),
        (Speedup(1.0, 1.15, 0.97), True),
        (Speedup(1.14, 1.14, 1.14), False),
        (Speedup(3.0, 3.0, 0.96), False),
        (Speedup(0.9, 1.0, 3.0), False),
    ],
)
def test_the_faster_of_two_serves_where_it_is_slower_in_nothing(speedup: Speedup, pays: bool) -> None:
    assert choose_form(AS_IT_IS, "onnx", speedup, OWN, OTHER, EQUAL).variant == ("onnx" if pays else None)


def test_the_figures_are_told() -> None:
    assert choose_form(AS_IT_IS, "onnx", Speedup(2.4, 1.0, 1.5), OWN, OTHER, EQUAL).why == (
        "onnx: 2.40 × as fast with the smallest requests, 1.00 × with the largest, 1.50 × with many at once, "
        "0.75 × the memory, answers equal to 2e-06"
    )


@pytest.mark.parametrize(
    ("speedup", "variant"), [(Speedup(1.0, 1.16, 1.2), "openvino"), (Speedup(1.1, 1.1, 1.1), "onnx")]
)
def test_a_third_form_serves_where_it_beats_the_better_of_two(speedup: Speedup, variant: str) -> None:
    form = choose_form(Form("onnx", "why"), "openvino", speedup, OWN, OTHER, EQUAL)
    assert form.variant == variant
    assert form.why.startswith(f"why; openvino against onnx: {speedup}, 0.75 ×")


@pytest.mark.parametrize(
    ("other", "difference", "obstacle"),
    [
        (OTHER, EQUAL, None),
        (OTHER, 1e-4, None),
        (replace(OTHER, peak_bytes=200 * MIB), EQUAL, None),
        # A bill never rises by it.
        (replace(OTHER, peak_bytes=200 * MIB + 1), EQUAL, "it needs more memory"),
        (replace(OTHER, peak_bytes=None), EQUAL, "it needs more memory"),
        # Answers are the same, or it is another model.
        (OTHER, 1.1e-4, "its answers differ by 0.00011"),
        (OTHER, float("inf"), "its answers differ by inf"),
        (OTHER, None, "its answers differ by nobody knows how much"),
        # What uses an accelerator is not compared with what cannot.
        (replace(OTHER, peak_device_bytes=1), EQUAL, "an accelerator is used, which it cannot"),
    ],
)
def test_what_keeps_another_form_from_serving(other: Figures, difference: float | None, obstacle: str | None) -> None:
    assert find_obstacle(OWN, other, difference) == obstacle


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
