"""Rows of padding are there where they make a step quicker, by what steps have taken, and change no row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from modelyard.worker.runtimes.step_padding import (
    FEWEST_ROWS,
    PAIRS,
    REST_STEPS,
    WIDTH,
    Comparison,
    PaddedLayers,
    StepPadding,
)


def steps(comparison: Comparison, plain_s: float, padded_s: float) -> Iterator[bool]:
    """Steps that take so long each; whether each was padded."""
    while True:
        padded = comparison.next_is_padded()
        comparison.note(padded_s if padded else plain_s, padded=padded)
        yield padded


@pytest.mark.parametrize(("plain_s", "padded_s", "pads"), [(0.04, 0.03, True), (0.03, 0.04, False)])
def test_the_quicker_of_both_runs_once_they_were_seen(plain_s: float, padded_s: float, pads: bool) -> None:
    made = steps(Comparison(), plain_s, padded_s)
    assert list(itertools.islice(made, 2 * PAIRS)) == [False, True] * PAIRS
    assert set(itertools.islice(made, REST_STEPS)) == {pads}


def test_what_runs_follows_the_machine() -> None:
    comparison = Comparison()
    before, after = steps(comparison, 0.04, 0.03), steps(comparison, 0.03, 0.04)
    assert list(itertools.islice(before, 2 * PAIRS + 1))[-1]
    assert not list(itertools.islice(after, (PAIRS // 2 + 1) * (REST_STEPS + 2)))[-1]


def test_one_slow_step_changes_nothing() -> None:
    comparison = Comparison()
    usual, slow = steps(comparison, 0.04, 0.03), steps(comparison, 0.04, 3.0)
    assert list(itertools.islice(usual, 2 * PAIRS + REST_STEPS))[-1]
    assert [next(slow), next(slow)] == [False, True]
    assert set(itertools.islice(usual, REST_STEPS)) == {True}


class Seen(torch.nn.Module):
    """A layer, and how many rows it multiplied in each step."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 96).to(dtype)
        self.dtype = dtype

    def forward(self, rows: torch.Tensor) -> Any:
        return self.layer(rows)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    rows: list[int] = []
    linear = torch.nn.functional.linear

    def count(inputs: torch.Tensor, *more: Any) -> torch.Tensor:
        rows.append(inputs.shape[0])
        return linear(inputs, *more)

    monkeypatch.setattr(torch.nn.functional, "linear", count)
    return rows


@pytest.mark.parametrize(
    ("rows", "dtype", "seen"),
    [
        (12, torch.float32, {12, WIDTH}),
        (WIDTH - 1, torch.float32, {WIDTH - 1, WIDTH}),
        (FEWEST_ROWS - 1, torch.float32, {FEWEST_ROWS - 1}),
        (WIDTH, torch.float32, {WIDTH}),
        (12, torch.bfloat16, {12}),
    ],
)
def test_only_rows_that_nearly_fill_a_register_are_padded(
    monkeypatch: pytest.MonkeyPatch, rows: int, dtype: torch.dtype, seen: set[int]
) -> None:
    model = Seen(dtype)
    padding = StepPadding(model)
    given = torch.randn(rows, 1, 64).to(dtype)
    counts = counted(monkeypatch)
    with torch.inference_mode():
        for _ in range(2 * PAIRS):
            made = padding.run(rows, lambda: model(given))
            assert made.shape == (rows, 1, 96)
    assert set(counts) == seen


@pytest.mark.parametrize("shape", [(12, 1), (12,), (3, 4), (3,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_padded_layer_makes_what_it_makes(shape: tuple[int, ...], bias: bool) -> None:
    layer = torch.nn.Linear(64, 96, bias=bias)
    rows = torch.randn(*shape, 64)
    with torch.inference_mode():
        usual = layer(rows)
        with PaddedLayers(layer):
            torch.testing.assert_close(layer(rows), usual, rtol=1e-5, atol=1e-5)
        assert torch.equal(layer(rows), usual)


def test_a_row_that_is_no_number_spoils_no_other() -> None:
    layer, rows = torch.nn.Linear(64, 96), torch.randn(12, 1, 64)
    rows[3] = torch.nan
    with torch.inference_mode(), PaddedLayers(layer):
        assert layer(rows).isnan().any(-1).flatten().tolist() == [row == 3 for row in range(12)]


def test_hooks_of_layers_see_no_padding() -> None:
    layer, rows = torch.nn.Linear(64, 96), torch.randn(12, 1, 64)
    shapes: list[torch.Size] = []
    layer.register_forward_hook(lambda _layer, given, made: shapes.extend([given[0].shape, made.shape]))
    with torch.inference_mode(), PaddedLayers(layer):
        layer(rows)
    assert shapes == [(12, 1, 64), (12, 1, 96)]


def test_what_fails_in_a_padded_step_leaves_the_layers_as_they_were() -> None:
    model = Seen()
    with pytest.raises(ValueError, match="wrong"), PaddedLayers(model):
        raise ValueError("wrong")
    assert "forward" not in vars(model.layer)
