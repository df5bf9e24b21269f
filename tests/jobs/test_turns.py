"""Whoever waits for a job reads in its model's log for whom, and why those go first."""

from __future__ import annotations

from modelyard.jobs.measurements import Measurements
from modelyard.jobs.turns import BEGINS, BEGINS_FOR_OTHERS, OTHERS_FIRST, OTHERS_UNDER_WAY, OWN_FIRST, OWN_UNDER_WAY
from modelyard.records.jobs import JobState
from tests.control.control_plane import BIG, SMALL, THIRD, TWIN, ControlPlane, MakeControl
from tests.jobs.test_queue import running_jobs


async def test_the_logs_of_jobs_tell_whose_turn_it_is(make_control: MakeControl) -> None:
    async with make_control() as control, running_jobs(control, Measurements({})) as jobs:
        mine, other = control.account, control.other_account
        control.engine.hold_boots = True
        await jobs.ask(mine, SMALL)
        await control.until(lambda: is_under_way(control, SMALL))
        for account, model_id in ((mine, TWIN), (other, BIG), (mine, THIRD), (other, THIRD)):
            control.clock.advance(1)
            await jobs.ask(account, model_id)
            await jobs.ask(account, model_id)
        assert await told(control, TWIN, mine) == [OWN_UNDER_WAY]
        assert await told(control, BIG, other) == [OTHERS_UNDER_WAY]

        for ended, next_one in ((SMALL, BIG), (BIG, TWIN), (TWIN, THIRD)):
            control.clock.advance(10)
            await jobs.cancel(ended)
            await control.until(lambda model_id=next_one: is_under_way(control, model_id))

        assert await told(control, SMALL, mine) == [BEGINS]
        assert await told(control, BIG, other) == [OTHERS_UNDER_WAY, BEGINS], "the first job of its account"
        assert await told(control, TWIN, mine) == [OWN_UNDER_WAY, OTHERS_FIRST, BEGINS]
        assert await told(control, THIRD, mine) == [OWN_UNDER_WAY, OTHERS_FIRST, OWN_FIRST, BEGINS_FOR_OTHERS]
        assert await told(control, THIRD, other) == [OTHERS_UNDER_WAY, OWN_FIRST, OTHERS_FIRST, BEGINS]
        assert await told(control, BIG, mine) == [], "it has not asked for this one"


def is_under_way(control: ControlPlane, model_id: str) -> bool:
    """Whether the model's job has begun and is not over."""
    job = control.store.jobs.find(model_id)
    return job is not None and job.state is not JobState.QUEUED and not job.over


async def told(control: ControlPlane, model_id: str, account: str) -> list[str]:
    """What the account's log of the model says that is no cluster's, nor that of a worker that measures."""
    await control.journal.flush()
    lines = control.store.events.list(account, model_id, limit=1000)
    return [line.message for line in lines if line.cluster_id is None]
