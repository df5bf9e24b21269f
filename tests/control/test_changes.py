"""What a PUT or PATCH may say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.clusters import Changes, check_capacity, check_timeout, read_changes
from modelyard.errors import InvalidRequest
from modelyard.records.clusters import Capacity


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
    assert read_changes(body, allow_status=True) == changes


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
        read_changes(body, allow_status=True)
    assert refusal.value.status == 422
    assert refusal.value.data["field"] == field
    assert field in refusal.value.message
    assert says in refusal.value.message


def test_a_put_has_no_status() -> None:
    with pytest.raises(InvalidRequest, match="status: got 'on'; accepted: no such field; one of capacity, timeout"):
        read_changes({"status": "on"}, allow_status=False)


@pytest.mark.parametrize(
    ("base", "changes", "field", "says"),
    [
        (Capacity(), Changes(min=2), "capacity.min", "capacity.min: 2 is above capacity.desired: 1 (as it was"),
        (Capacity(), Changes(desired=2), "capacity.desired", "capacity.desired: 2 is above capacity.max: 1 (as it was"),
        (Capacity(), Changes(max=0), "capacity.max", "or the default) is above capacity.max: 0;"),
        (Capacity(1, 2, 3), Changes(min=3, desired=2), "capacity.min", "capacity.min: 3 is above capacity.desired: 2;"),
        (Capacity(1, 2, 3), Changes(desired=0), "capacity.desired", "is above capacity.desired: 0;"),
    ],
)
def test_the_bound_that_broke_is_named(base: Capacity, changes: Changes, field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_capacity(base, changes)
    assert refusal.value.data["field"] == field
    assert says in refusal.value.message


bounds = st.none() | st.integers(0, 6)


@given(bounds, bounds, bounds)
def test_a_capacity_is_in_order_or_refused(low: int | None, desired: int | None, high: int | None) -> None:
    base = Capacity(1, 2, 4)
    values = [1 if low is None else low, 2 if desired is None else desired, 4 if high is None else high]
    changes = Changes(min=low, desired=desired, max=high)
    if values == sorted(values):
        assert check_capacity(base, changes) == Capacity(*values)
    else:
        with pytest.raises(InvalidRequest):
            check_capacity(base, changes)


def test_a_timeout_stays_unless_it_is_given() -> None:
    assert check_timeout(1800, Changes()) == 1800
    assert check_timeout(1800, Changes(timeout_s=0)) == 0
