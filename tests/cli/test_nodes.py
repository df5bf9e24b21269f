"""What `modelyard nodes` says of a machine and its accelerators."""

from __future__ import annotations

from typing import Any

from modelyard.cli.nodes import rows_of
from modelyard.units import GIB


def holding(replicas: int, *, accepting: bool) -> dict[str, Any]:
    sizes = {"memoryBytes": 4 * GIB, "reservedBytes": GIB, "heldBytes": GIB // 2}
    return {"accepting": accepting, "replicas": replicas, **sizes}


def test_what_takes_no_replicas_says_how_far_its_emptying_is() -> None:
    devices = [{"name": "cuda:0", **holding(0, accepting=False)}, {"name": "cuda:1", **holding(1, accepting=True)}]
    assert [*rows_of({"name": "one", "devices": devices, **holding(1, accepting=False)})] == [
        ("one", "1", "4.00", "1.00", "0.50", "is being emptied"),
        ("one cuda:0", "0", "4.00", "1.00", "0.50", "can be taken out"),
        ("one cuda:1", "1", "4.00", "1.00", "0.50", ""),
    ]
    (row,) = rows_of({"name": "two", "devices": [], **holding(0, accepting=False)})
    assert row[-1] == "can be switched off"
