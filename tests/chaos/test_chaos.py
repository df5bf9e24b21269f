"""A short run of the chaos; `make chaos` is a long one, which kills and starts the server too."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.databases import KINDS
from tests.chaos.disturbances import DISTURBANCES, kinds_for, plan
from tests.chaos.run import disturb

DONE = [
    "clients vanish", "reader stalls", "replica killed", "names rebound", "clock stepped", "database locked",
    "replica frozen", "nursery killed", "slow clients",
]  # fmt: skip

NOTICED_S = 10.0
"""By how much a life and its line may differ here: other tests may have the machine for seconds."""


def test_what_must_hold_under_chaos_holds(tmp_path: Path) -> None:
    run = disturb(tmp_path, seed=1, seconds=0.0, hold_s=0.5, kinds=DONE, rest_s=(0.2, 0.6), noticed_s=NOTICED_S)
    assert "\n".join(run.problems()) == "", "\n".join(run.words())
    assert run.done.keys() == set(DONE)
    assert run.outcomes.counts["inferences answered"] > 0
    assert run.outcomes.counts["streams answered"] > 0


@pytest.mark.parametrize("database", KINDS)
def test_a_seed_makes_the_same_plan_again_which_has_every_kind(database: str) -> None:
    kinds = kinds_for(database)
    assert drawn(7, kinds) == drawn(7, kinds)
    assert sorted(drawn(7, kinds)) == kinds
    assert drawn(7, kinds) != drawn(8, kinds)


def test_every_kind_is_done_with_some_database() -> None:
    assert {kind for database in KINDS for kind in kinds_for(database)} == DISTURBANCES.keys()


def drawn(seed: int, kinds: Sequence[str]) -> list[str]:
    """The first round of a plan."""
    return list(islice(plan(random.Random(seed), kinds), len(kinds)))
