"""What a listener is told of clusters: how they stand, whenever that has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from modelyard.control import desired
from modelyard.gateway import cluster_watch
from modelyard.gateway.cluster_watch import LOOK_AT_ALL_S, ClusterWatch
from tests.control.control_plane import SMALL, THIRD, TWIN, ControlPlane, MakeControl
from tests.control.test_boots import fail_boots
from tests.loop import turns, turns_of


def read(messages: Sequence[bytes]) -> list[tuple[str, Any]]:
    """Messages, by kind, each with what it says."""
    found = []
    for each in messages:
        fields = dict(line.split(": ", 1) for line in each.decode().strip().splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def watch_of(control: ControlPlane, model_id: str | None = None) -> ClusterWatch:
    """An account's."""
    return ClusterWatch(control.plane, control.account, model_id)


def watch_of_all(control: ControlPlane, model_id: str | None = None) -> ClusterWatch:
    """The operator's."""
    return ClusterWatch(control.plane, None, model_id, lambda: names_in(control))


def names_in(control: ControlPlane) -> dict[str, str]:
    return {each.id: each.name for each in control.store.accounts.list()}


async def told(watch: ClusterWatch) -> list[tuple[str, Any]]:
    """What it tells now, but for `known`: by kind, each with what it says."""
    return [each for each in read(await watch.look()) if each[0] != "known"]


async def whose(watch: ClusterWatch) -> list[tuple[str, Any, Any]]:
    """What it tells now: by kind, of whose cluster of which model."""
    return sorted((kind, said.get("account"), said.get("modelId")) for kind, said in read(await watch.look()))


async def test_a_listener_hears_of_its_own_account_what_changes(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(TWIN, control.other_account)
        watch = watch_of(control)
        assert await told(watch) == []
        await control.up()
        ((kind, cluster),) = await told(watch)
        assert (kind, cluster["modelId"], cluster["status"], cluster["ready"]) == ("cluster", SMALL, "running", 1)
        assert cluster.keys().isdisjoint({"replicas", "account"})
        assert await told(watch) == []
        await control.delete()
        assert await told(watch) == [("gone", {"modelId": SMALL})]


async def test_of_one_cluster_its_replicas_are_told_and_nothing_of_others(make_control: MakeControl) -> None:
    async with make_control() as control:
        watch = watch_of(control, SMALL)
        managed = await control.up()
        await control.up(TWIN)
        ((_, cluster),) = await told(watch)
        assert cluster["modelId"] == SMALL
        (replica,) = cluster["replicas"]
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
        assert [kind for kind, _ in read(await watch.look())] == ["cluster", "known"]
        await control.patch(max=3)
        assert [kind for kind, _ in read(await watch.look())] == ["cluster"]


async def test_the_operator_hears_of_all_accounts(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        await control.up(TWIN, control.other_account)
        watch, of_one = watch_of_all(control), watch_of_all(control, SMALL)
        assert await whose(watch) == [("cluster", "ada", SMALL), ("cluster", "bob", TWIN), ("known", None, None)]
        assert await whose(of_one) == [("cluster", "ada", SMALL), ("known", None, None)]
        assert await whose(watch) == []
        await control.patch(max=3)
        request = await control.ask(TWIN, control.other_account)
        await request.served()
        assert await whose(watch) == [("cluster", "ada", SMALL), ("cluster", "bob", TWIN)]
        request.answer()
        assert await whose(of_one) == [("cluster", "ada", SMALL)]
        await control.delete()
        assert await whose(watch) == [("cluster", "bob", TWIN), ("gone", "ada", SMALL)]


async def test_an_account_that_is_made_meanwhile_is_known_by_its_name(make_control: MakeControl) -> None:
    async with make_control() as control:
        watch = watch_of_all(control)
        assert await whose(watch) == [("known", None, None)]
        new = control.store.accounts.ensure("carol", control.clock.now()).id
        await control.put(SMALL, new, desired=0)
        assert await whose(watch) == [("cluster", "carol", SMALL)]


async def test_what_ends_between_two_looks_is_told_with_the_next(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_control() as control:
        monkeypatch.setattr(cluster_watch, "monotonic", lambda: 0.0)
        watch = watch_of(control)
        managed = await control.put()
        ((_, cluster),) = await told(watch)
        assert cluster["status"] == "queued"
        await fail_boots(control, 3)
        assert managed.at_rest
        ((_, cluster),) = await told(watch)
        assert cluster["status"] == "failed"


@pytest.mark.parametrize("make_watch", [watch_of, watch_of_all])
async def test_clusters_at_rest_are_asked_only_when_they_are_changed_and_now_and_then(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch, make_watch: Any
) -> None:
    async with make_control() as control:
        monkeypatch.setattr(cluster_watch, "monotonic", control.clock.monotonic)
        await control.put(desired=0)
        await control.put(TWIN, desired=0)
        await control.settle()
        watch, asked = make_watch(control), []
        await watch.look()
        find = control.plane.find

        async def note(account_id: str, model_id: str) -> Any:
            asked.append(model_id)
            return await find(account_id, model_id)

        monkeypatch.setattr(control.plane, "find", note)
        await watch.look()
        await watch.look()
        assert asked == []
        await control.patch(TWIN, max=3)
        await watch.look()
        assert asked == [TWIN]
        control.clock.advance(LOOK_AT_ALL_S)
        await watch.look()
        assert sorted(asked[1:]) == sorted([SMALL, TWIN])


async def test_others_have_their_turns_while_many_clusters_are_looked_at(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desired, "WANTED_AT_ONCE", 1)
    async with make_control() as control:
        for model_id in (SMALL, TWIN, THIRD):
            await control.put(model_id, desired=0)
        watch = watch_of(control)
        await watch.look()
        await control.delete(TWIN)
        assert await turns_of(watch.look()) > 2


async def test_what_is_deleted_while_many_are_looked_at_is_gone(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desired, "WANTED_AT_ONCE", 1)
    async with make_control() as control:
        _, twin = [await control.put(model_id, desired=0) for model_id in (SMALL, TWIN)]
        watch = watch_of(control)
        await watch.look()
        looking = asyncio.create_task(watch.look())
        await turns(1)
        control.desired.remove(twin.cluster.id)
        assert read(await looking) == [("gone", {"modelId": TWIN})]
        assert await told(watch) == []
