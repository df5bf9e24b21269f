"""A short run of the chaos; `make chaos` is a long one, which kills and starts the server too."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from tests.chaos.disturbances import DISTURBANCES, plan
from tests.chaos.run import disturb

KINDS = [
    "clients vanish", "reader stalls", "replica killed", "names rebound", "clock stepped", "database locked",
    "replica frozen", "nursery killed", "slow clients",
]  # fmt: skip


def test_what_must_hold_under_chaos_holds(tmp_path: Path) -> None:
    run = disturb(tmp_path, seed=1, seconds=0.0, hold_s=0.5, kinds=KINDS)
    assert "\n".join(run.problems()) == "", "\n".join(run.words())
    assert run.done.keys() == set(KINDS)
    assert run.outcomes.counts["inferences answered"] > 0
    assert run.outcomes.counts["streams answered"] > 0


def drawn(seed: int) -> list[str]:
    return list(islice(plan(random.Random(seed)), len(DISTURBANCES)))


def test_a_seed_makes_the_same_plan_again_which_has_every_kind() -> None:
    assert drawn(7) == drawn(7)
    assert set(drawn(7)) == DISTURBANCES.keys()
    assert drawn(7) != drawn(8)
