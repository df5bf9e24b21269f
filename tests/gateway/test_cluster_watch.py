"""What a listener is told of clusters: every line of their logs once, and how they stand whenever that has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from modelyard.gateway.cluster_watch import LINES_AT_ONCE, ClusterWatch
from tests.control.control_plane import SMALL, TWIN, ControlPlane, MakeControl


async def told(watch: ClusterWatch) -> list[tuple[str, Any]]:
    """What it tells now, but for `known`: by kind, each with what it says."""
    return [each for each in read(await watch.look()) if each[0] != "known"]


def read(messages: Sequence[bytes]) -> list[tuple[str, Any]]:
    """Messages, by kind, each with what it says."""
    found = []
    for each in messages:
        fields = dict(line.split(": ", 1) for line in each.decode().strip().splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def watch_of(
    control: ControlPlane, model_id: str | None = None, *, after: int | None = None, last: int = 0
) -> ClusterWatch:
    return ClusterWatch(control.plane, control.account, model_id, after=after, last=last)


async def test_a_listener_hears_of_its_own_account_what_is_new(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(TWIN, control.other_account)
        watch = watch_of(control)
        assert await told(watch) == []
        await control.up()
        await control.journal.flush()
        news = await told(watch)
        lines = [said for kind, said in news if kind == "log"]
        assert [line["kind"] for line in lines] == ["created", "booting", "ready"]
        ((kind, cluster),) = [each for each in news if each[0] != "log"]
        assert (kind, cluster["modelId"], cluster["status"], cluster["ready"]) == ("cluster", SMALL, "running", 1)
        assert "replicas" not in cluster
        assert await told(watch) == []
        await control.delete()
        assert ("gone", {"modelId": SMALL}) in await told(watch)


async def test_who_goes_on_misses_no_line_however_many_came(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        await control.journal.flush()
        first = control.store.events.list(control.account)[-1].id
        for number in range(2 * LINES_AT_ONCE + 7):
            control.journal.event(control.account, SMALL, None, "note", str(number))
        await control.journal.flush()
        watch, seen = watch_of(control, after=first), []
        while found := [said["message"] for kind, said in await told(watch) if kind == "log"]:
            seen += found
        assert seen == [str(number) for number in range(2 * LINES_AT_ONCE + 7)]
        fresh = [said["message"] for kind, said in await told(watch_of(control, last=2)) if kind == "log"]
        assert fresh == seen[-2:]


async def test_of_one_cluster_its_replicas_are_told_and_nothing_of_others(make_control: MakeControl) -> None:
    async with make_control() as control:
        watch = watch_of(control, SMALL)
        managed = await control.up()
        await control.up(TWIN)
        news = await told(watch)
        assert {said["modelId"] for _, said in news} == {SMALL}
        (replica,) = news[-1][1]["replicas"]
        assert replica["id"] == control.only(managed).id
        assert (replica["state"], replica["node"], replica["inFlight"]) == ("ready", "fake", 0)
        request = await control.ask()
        await request.served()
        assert (await told(watch))[-1][1]["replicas"][0]["inFlight"] == 1
        request.answer()


async def test_it_is_said_once_that_all_there_is_was_told(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        watch = watch_of(control)
        assert [kind for kind, _ in read(await watch.look())][-2:] == ["cluster", "known"]
        await control.patch(max=3)
        assert "known" not in [kind for kind, _ in read(await watch.look())]


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
