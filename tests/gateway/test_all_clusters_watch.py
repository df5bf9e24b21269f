"""What the operator is told of the clusters of all accounts: how they stand, whenever that has changed."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway import all_clusters_watch
from modelyard.gateway.all_clusters_watch import LOOK_AT_ALL_S, AllClustersWatch
from tests.control.control_plane import SMALL, TWIN, ControlPlane, MakeControl
from tests.gateway.test_cluster_watch import read


def watch_of(control: ControlPlane, model_id: str | None = None) -> AllClustersWatch:
    def names() -> dict[str, str]:
        return {each.id: each.name for each in control.store.accounts.list()}

    return AllClustersWatch(control.plane, names, model_id)


async def told(watch: AllClustersWatch) -> list[tuple[str, Any, Any]]:
    """What it tells now: by kind, of whose cluster of which model."""
    return sorted((kind, said.get("account"), said.get("modelId")) for kind, said in read(await watch.look()))


async def test_clusters_of_all_accounts_are_told_as_they_change(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        await control.up(TWIN, control.other_account)
        watch, of_one = watch_of(control), watch_of(control, SMALL)
        assert await told(watch) == [("cluster", "ada", SMALL), ("cluster", "bob", TWIN), ("known", None, None)]
        assert await told(of_one) == [("cluster", "ada", SMALL), ("known", None, None)]
        assert await told(watch) == []
        await control.patch(max=3)
        request = await control.ask(TWIN, control.other_account)
        await request.served()
        assert await told(watch) == [("cluster", "ada", SMALL), ("cluster", "bob", TWIN)]
        request.answer()
        assert await told(of_one) == [("cluster", "ada", SMALL)]
        await control.delete()
        assert await told(watch) == [("cluster", "bob", TWIN), ("gone", "ada", SMALL)]


async def test_an_account_that_is_made_meanwhile_is_known_by_its_name(make_control: MakeControl) -> None:
    async with make_control() as control:
        watch = watch_of(control)
        assert await told(watch) == [("known", None, None)]
        new = control.store.accounts.ensure("carol", control.clock.now()).id
        await control.put(SMALL, new, desired=0)
        assert await told(watch) == [("cluster", "carol", SMALL)]


async def test_clusters_at_rest_are_asked_only_when_they_are_changed_and_now_and_then(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_control() as control:
        monkeypatch.setattr(all_clusters_watch, "monotonic", control.clock.monotonic)
        await control.put(desired=0)
        await control.put(TWIN, desired=0)
        await control.settle()
        watch, asked = watch_of(control), []
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
