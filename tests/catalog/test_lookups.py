"""How many models an account may have looked up: a minute's at once, and each account for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.lookups import LookupBudget
from modelyard.errors import Throttled, UnknownModel
from tests.clock import HandClock

ADA, EVE = "acc_ada", "acc_eve"


def test_a_minutes_lookups_at_once_then_so_many_a_minute() -> None:
    clock = HandClock()
    budget = LookupBudget(3, clock)
    for _ in range(3):
        budget.take(EVE, "acme/m")
    with pytest.raises(Throttled, match="limited to 3 per minute") as refusal:
        budget.take(EVE, "acme/m")
    budget.take(ADA, "acme/m")
    clock.advance(refusal.value.data["retry_after_s"])
    budget.take(EVE, "acme/m")
    assert not budget.may_take(EVE)


def test_the_server_itself_and_a_limit_of_none_are_not_counted() -> None:
    for budget, account_id in ((LookupBudget(1, HandClock()), None), (LookupBudget(0, HandClock()), EVE)):
        assert all(budget.may_take(account_id) for _ in range(100))


async def test_who_asks_for_unknown_names_all_the_time_is_no_longer_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "acme/small").mkdir(parents=True)
    catalog = Catalog(Folders([tmp_path]), guesses=LookupBudget(1, HandClock()))
    nearest = []
    for account_id in (EVE, EVE, ADA):
        with pytest.raises(UnknownModel) as unknown:
            await catalog.get("acme/smal", account_id)
        nearest.append(unknown.value.data["nearest"])
    await catalog.aclose()
    assert nearest == [["acme/small"], [], ["acme/small"]]
