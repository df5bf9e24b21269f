"""What a PUT or PATCH of a cluster may say."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.gateway.reading import to_struct
from modelyard.gateway.shapes.clusters import PatchBody, PutBody, to_changes
from modelyard.records.clusters import Changes


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ({}, Changes()),
        ({"capacity": None, "timeout": None, "status": None}, Changes()),
        ({"capacity": {}}, Changes()),
        ({"capacity": {"min": 0, "desired": 2, "max": 3}}, Changes(min=0, desired=2, max=3)),
        ({"capacity": {"max": 1000}, "timeout": 0}, Changes(max=1000, timeout_s=0)),
        ({"timeout": 31_536_000}, Changes(timeout_s=31_536_000)),
        ({"status": "on"}, Changes(enabled=True)),
        ({"status": "off"}, Changes(enabled=False)),
    ],
)
def test_a_body_says_what_changes(body: dict[str, Any], changes: Changes) -> None:
    assert to_changes(to_struct(PatchBody, body)) == changes


BAD_NUMBERS = [-1, 1.5, "2", True, [], {}, float("nan"), 10**30]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        *[({"capacity": {name: bad}}, f"capacity.{name}", "whole number from 0 to 1000")
          for name in ("min", "desired", "max") for bad in [*BAD_NUMBERS, 1001]],
        *[({"timeout": bad}, "timeout", "0 to 31536000 (seconds)") for bad in [*BAD_NUMBERS, 31_536_001]],
        ({"capacity": []}, "capacity", "an object"),
        ({"capacity": 3}, "capacity", "an object"),
        ({"capacity": {"size": 1}}, "capacity.size", "one of min, desired, max"),
        ({"status": "paused"}, "status", '"on" or "off"'),
        ({"status": True}, "status", '"on" or "off"'),
        ({"status": []}, "status", '"on" or "off"'),
        ({"timeOut": 5}, "timeOut", "one of capacity, status, timeout"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_is_accepted(body: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        to_changes(to_struct(PatchBody, body))
    assert refusal.value.status == 422
    assert refusal.value.data["field"] == field
    assert field in refusal.value.message
    assert says in refusal.value.message


def test_a_put_has_no_status() -> None:
    with pytest.raises(InvalidRequest, match="status: got 'on'; accepted: no such field; one of capacity, timeout"):
        to_struct(PutBody, {"status": "on"})
