"""What may change of a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.clusters import check_timeout
from modelyard.errors import InvalidRequest
from modelyard.records.clusters import Capacity, Changes, check_capacity


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
