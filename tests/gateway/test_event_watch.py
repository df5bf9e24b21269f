"""What a listener is told of the logs of clusters: every line once."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway.event_watch import LINES_AT_ONCE, EventWatch
from tests.control.control_plane import SMALL, TWIN, ControlPlane, MakeControl
from tests.gateway.test_cluster_watch import read


def watch_of(
    control: ControlPlane, model_id: str | None = None, *, after: int | None = None, last: int = 0
) -> EventWatch:
    return EventWatch(control.plane, control.account, model_id, after=after, last=last)


async def told(watch: EventWatch) -> list[dict[str, Any]]:
    """The lines that it tells now."""
    return [line for _, line in read(await watch.look())]


async def test_a_listener_hears_of_its_own_account_what_is_new(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(TWIN, control.other_account)
        watch, of_one = watch_of(control), watch_of(control, SMALL)
        assert (await told(watch), await told(of_one)) == ([], [])
        await control.up()
        await control.put(TWIN, desired=0)
        await control.journal.flush()
        assert [line["kind"] for line in await told(watch)] == ["created", "booting", "ready", "created"]
        assert {line["modelId"] for line in await told(of_one)} == {SMALL}
        assert await told(watch) == []


async def test_who_goes_on_misses_no_line_however_many_came(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        await control.journal.flush()
        first = control.store.events.list(control.account)[-1].id
        for number in range(2 * LINES_AT_ONCE + 7):
            control.journal.event(control.account, SMALL, None, "note", str(number))
        await control.journal.flush()
        watch, seen = watch_of(control, after=first), []
        while found := [line["message"] for line in await told(watch)]:
            seen += found
        assert seen == [str(number) for number in range(2 * LINES_AT_ONCE + 7)]
        assert [line["message"] for line in await told(watch_of(control, last=2))] == seen[-2:]


async def test_a_quiet_account_costs_no_query(make_control: MakeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a query")

    async with make_control() as control:
        await control.up()
        await control.journal.flush()
        watch = watch_of(control)
        await told(watch)
        monkeypatch.setattr(control.store.events, "list", fail)
        assert await told(watch) == []
        control.journal.event(control.account, SMALL, None, "note", "news")
        await control.journal.flush()
        with pytest.raises(AssertionError, match="a query"):
            await told(watch)
