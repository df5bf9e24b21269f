"""Rows are multiplied by the product that was quicker, by what products have taken, and no row is changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from modelyard.worker.runtimes import linear_products
from modelyard.worker.runtimes.linear_products import (
    REST,
    SAMPLES,
    SIZES,
    Comparison,
    LinearProducts,
    multiply_by_onednn,
    multiply_by_torch,
)

WIDTH, MADE = 384, 512
"""Of a layer that is large enough."""


def products(comparison: Comparison, torch_s: float, onednn_s: float) -> Iterator[bool]:
    """Products that take so long each; whether each was by oneDNN."""
    while True:
        onednn = comparison.next_is_onednn()
        if comparison.rests:
            comparison.rests -= 1
        else:
            comparison.note(onednn_s if onednn else torch_s)
        yield onednn


@pytest.mark.parametrize(("torch_s", "onednn_s", "gains"), [(0.4, 0.3, True), (0.3, 0.4, False), (0.4, 0.39, False)])
def test_the_quicker_of_both_runs_once_they_were_seen(torch_s: float, onednn_s: float, gains: bool) -> None:
    made = products(Comparison(), torch_s, onednn_s)
    assert list(itertools.islice(made, 2 * SAMPLES)) == [False, True] * SAMPLES
    assert set(itertools.islice(made, REST)) == {gains}


def test_what_runs_follows_the_machine() -> None:
    comparison = Comparison()
    before, after = products(comparison, 0.4, 0.3), products(comparison, 0.3, 0.4)
    assert list(itertools.islice(before, 2 * SAMPLES + 1))[-1]
    assert not list(itertools.islice(after, REST + 2 * SAMPLES))[-1]


def test_one_slow_product_changes_nothing() -> None:
    comparison = Comparison()
    usual, slow = products(comparison, 0.4, 0.3), products(comparison, 0.4, 30.0)
    assert [next(slow), next(slow)] == [False, True]
    assert list(itertools.islice(usual, 2 * SAMPLES - 1))[-1]


class Watch:
    """A clock by which products by oneDNN take as long as they are told to, and others a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, onednn_s: float) -> None:
        self.now_s = 0.0
        self.by: list[str] = []
        for name, took_s in (("multiply_by_torch", 1.0), ("multiply_by_onednn", onednn_s)):
            self._time(monkeypatch, name, took_s)

    def __call__(self) -> float:
        return self.now_s

    def _time(self, monkeypatch: pytest.MonkeyPatch, name: str, took_s: float) -> None:
        multiply: Callable[..., torch.Tensor] = getattr(linear_products, name)

        def timed(*given: Any) -> torch.Tensor:
            self.by.append(name.rpartition("_")[2])
            self.now_s += took_s
            return multiply(*given)

        monkeypatch.setattr(linear_products, name, timed)


@pytest.mark.parametrize(("onednn_s", "quicker"), [(0.5, "onednn"), (2.0, "torch")])
def test_layers_multiply_by_what_was_quicker(monkeypatch: pytest.MonkeyPatch, onednn_s: float, quicker: str) -> None:
    layer, rows = torch.nn.Linear(WIDTH, MADE), torch.randn(12, 1, WIDTH)
    watch = Watch(monkeypatch, onednn_s)
    chosen = LinearProducts(layer, watch)
    with torch.inference_mode():
        usual = layer(rows)
        for _ in range(2 * SAMPLES + 3):
            with chosen.in_use():
                torch.testing.assert_close(layer(rows), usual, rtol=1e-5, atol=1e-5)
    assert watch.by == ["torch", "onednn"] * SAMPLES + [quicker] * 3


def test_each_number_of_rows_has_its_own_product(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(WIDTH, MADE)
    watch = Watch(monkeypatch, 0.5)
    with torch.inference_mode(), LinearProducts(layer, watch).in_use():
        for _ in range(2 * SAMPLES):
            layer(torch.randn(SIZES[0], WIDTH))
        watch.by.clear()
        layer(torch.randn(SIZES[0], WIDTH))
        layer(torch.randn(SIZES[0] + 1, WIDTH))
    assert watch.by == ["onednn", "torch"]


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (torch.nn.Linear(WIDTH, MADE), 1),
        (torch.nn.Linear(64, 96), 12),
        (torch.nn.Linear(WIDTH, MADE, dtype=torch.bfloat16), 12),
    ],
    ids=["one row", "a small layer", "16 bits"],
)
def test_what_would_gain_nothing_is_never_by_onednn(
    monkeypatch: pytest.MonkeyPatch, layer: torch.nn.Linear, rows: int
) -> None:
    watch = Watch(monkeypatch, 0.5)
    given = torch.randn(rows, layer.in_features, dtype=layer.weight.dtype)
    with torch.inference_mode():
        usual = layer(given)
        with LinearProducts(layer, watch).in_use():
            for _ in range(2 * SAMPLES + 1):
                assert torch.equal(layer(given), usual)
    assert watch.by == []


@pytest.mark.parametrize("shape", [(12, 1), (12,), (3, 4), (1, 130), (5, 64)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_makes_the_same_by_either(shape: tuple[int, ...], bias: bool) -> None:
    layer = torch.nn.Linear(WIDTH, MADE, bias=bias)
    rows = torch.randn(*shape, WIDTH)
    with torch.inference_mode():
        made, usual = multiply_by_onednn(layer, rows), multiply_by_torch(layer, rows)
    torch.testing.assert_close(made, usual, rtol=1e-5, atol=1e-5)


def test_a_row_that_is_no_number_spoils_no_other() -> None:
    layer, rows = torch.nn.Linear(WIDTH, MADE), torch.randn(12, 1, WIDTH)
    rows[3] = torch.nan
    with torch.inference_mode():
        assert multiply_by_onednn(layer, rows).isnan().any(-1).flatten().tolist() == [row == 3 for row in range(12)]


def test_hooks_of_layers_see_no_padding() -> None:
    layer, rows = torch.nn.Linear(WIDTH, MADE), torch.randn(12, 1, WIDTH)
    shapes: list[torch.Size] = []
    layer.register_forward_hook(lambda _layer, given, made: shapes.extend([given[0].shape, made.shape]))
    with torch.inference_mode(), LinearProducts(layer).in_use():
        layer(rows)
        layer(rows)
    assert shapes == [(12, 1, WIDTH), (12, 1, MADE)] * 2


def test_what_fails_in_a_pass_leaves_the_layers_as_they_were() -> None:
    layer = torch.nn.Linear(WIDTH, MADE)
    with pytest.raises(ValueError, match="wrong"), LinearProducts(layer).in_use():
        raise ValueError("wrong")
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("same", [True, False], ids=["the same", "others of the model"])
def test_use_within_use_changes_nothing(monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    layer, rows = torch.nn.Linear(WIDTH, MADE), torch.randn(12, 1, WIDTH)
    watch = Watch(monkeypatch, 0.5)
    outer = LinearProducts(layer, watch)
    inner = outer if same else LinearProducts(layer, watch)
    with torch.inference_mode(), outer.in_use():
        with inner.in_use():
            layer(rows)
        layer(rows)
    assert watch.by == ["torch", "onednn"]
    assert "forward" not in vars(layer)
