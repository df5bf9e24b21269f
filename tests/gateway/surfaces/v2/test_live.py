"""What happens and has happened over HTTP: an account listens to its own, and reads its own figures."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.catalog.models import model, write
from tests.serving import Server, wait_until

MODEL = "many/m1"


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Boots nothing, and has two gateways, through which everything is passed on."""
    folder = tmp_path_factory.mktemp("live")
    write(folder / "models" / MODEL, model())
    with Server(folder, folder / "models", "--gateways", "2", boots=False) as server:
        yield server


def hear(client: httpx.Client, until: str, path: str = "/models/v2/live", **query: str | int) -> list[tuple[str, dict]]:
    """What is told up to the first event that has `until` in it."""
    found, kind = [], ""
    with client.stream("GET", path, params=query) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((kind, json.loads(line.removeprefix("data: "))))
                if until in line:
                    return found
    raise AssertionError(f"not told: {until}; {found}")


def kinds_in(answer: httpx.Response) -> list[str]:
    """The kinds of all events that are told."""
    return [line.removeprefix("event: ") for line in answer.iter_lines() if line.startswith("event: ")]


def test_an_account_hears_of_its_own_clusters_and_nobody_elses(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "laptop", "--account", "eve")
    quiet_server.put(MODEL, capacity={"desired": 0})
    told = hear(quiet_server.client, '"status"', events=100)
    assert ("log", "created") in [(kind, said.get("kind")) for kind, said in told]
    assert told[-1][0] == "cluster"
    quiet_server.client.patch(f"/models/v2/{MODEL}", json={"capacity": {"max": 3}})
    told = hear(quiet_server.client, "max 3", model=MODEL, after=told[0][1]["id"])
    assert [said["modelId"] for _, said in told] == [MODEL] * len(told)
    with quiet_server.client_of(secret) as eve:
        with eve.stream("GET", "/models/v2/live", params={"seconds": 0, "events": 100}) as answer:
            assert kinds_in(answer) == ["known"]
        with eve.stream("GET", "/models/v2/live", params={"seconds": 0, "events": 100, "model": MODEL}) as answer:
            assert kinds_in(answer) == ["known"]
        assert eve.get("/models/v2/history", params={"model": MODEL}).json()["output"]["points"] == []


def test_the_operator_hears_of_an_accounts_clusters(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "laptop", "--account", "grace")
    admin, path = quiet_server.client, "/admin/v1/clusters/live"
    with quiet_server.client_of(secret) as grace:
        grace.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0, "max": 2}})
        told = hear(admin, "{}", path, account="grace", model=MODEL, events=100)
        assert [kind for kind, _ in told] == ["log", "cluster", "known"]
        assert (told[1][1]["account"], told[1][1]["capacity"]["max"], told[1][1]["replicas"]) == ("grace", 2, [])
        grace.patch(f"/models/v2/{MODEL}", json={"capacity": {"max": 3}})
        told = hear(admin, "{}", path, account="grace", after=told[0][1]["id"])
        assert ["max 3" in said.get("message", "") for _, said in told] == [True, False, False]
        with grace.stream("GET", path, params={"account": "grace"}) as answer:
            assert answer.status_code == 403
    assert admin.get(path, params={"account": "nobody"}).status_code == 404


def test_the_operator_hears_of_the_clusters_of_all_accounts(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "laptop", "--account", "hedy")
    admin, path = quiet_server.client, "/admin/v1/clusters/live"
    with quiet_server.client_of(secret) as hedy:
        hedy.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0, "max": 2}})
        told = hear(admin, "{}", path)
        assert (MODEL, "hedy") in [(said.get("modelId"), said.get("account")) for _, said in told]
        with admin.stream("GET", path, params={"seconds": 60}) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if line == "event: known")
            hedy.delete(f"/models/v2/{MODEL}")
            next(line for line in lines if line == "event: gone")
            assert json.loads(next(lines).removeprefix("data: "))["account"] == "hedy"
        with hedy.stream("GET", path) as answer:
            assert answer.status_code == 403
    for field in ("events", "after"):
        refused = admin.get(path, params={field: 1})
        assert (refused.status_code, field in refused.json()["error"]) == (422, True)


def test_jobs_are_told_as_they_change_to_who_asked_for_them_and_to_the_operator(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "laptop", "--account", "ada")
    admin, once = quiet_server.client, {"seconds": 0}
    with quiet_server.client_of(secret) as ada:
        own, of_all = "/models/v2/list/jobs/live", "/admin/v1/jobs/live"
        assert [kind for kind, _ in hear(ada, "{}", own)] == ["known"]
        ada.post(f"/models/v2/request/{MODEL}")
        assert hear(ada, MODEL, own, modelId=MODEL)[0][0] == "job"
        with admin.stream("GET", own, params=once) as answer:
            assert kinds_in(answer) == ["known"]
        with admin.stream("GET", of_all, params={**once, "account": "ada"}) as answer:
            assert kinds_in(answer) == ["job", "known"]
        admin.delete("/admin/v1/jobs", params={"model": MODEL})
        ((_, told),) = hear(admin, "Cancelled", of_all)
        assert (told["modelId"], told["status"]) == (MODEL, "failed")


def test_a_stream_ends_soon_after_its_key(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "old", "--account", "eve")
    with quiet_server.client_of(secret) as eve, eve.stream("GET", "/models/v2/live") as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        quiet_server.command("keys", "revoke", secret[:8])
        for _ in pieces:
            continue
    assert httpx.get(f"{quiet_server.url}/models/v2/live", timeout=60).status_code == 401


def test_a_client_that_has_left_leaves_room_for_another(quiet_server: Server) -> None:
    secret = quiet_server.command("keys", "create", "many", "--account", "mallory")
    with quiet_server.client_of(secret) as mallory:
        for _ in range(45):
            with mallory.stream("GET", "/models/v2/live") as answer:
                if answer.status_code == 429:
                    break
                next(answer.iter_bytes())
        wait_until(lambda: mallory.get("/models/v2/live", params={"seconds": 0}).status_code == 200)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("history", {"model": MODEL, "period": "year"}, "period"),
        ("history", {}, "model"),
        ("live", {"seconds": "-1"}, "seconds"),
        ("live", {"after": "x"}, "after"),
    ],
)
def test_what_cannot_be_asked_is_said(quiet_server: Server, path: str, query: dict[str, str], field: str) -> None:
    answer = quiet_server.client.get(f"/models/v2/{path}", params=query)
    assert answer.status_code == 422
    assert field in answer.json()["error"]


def test_a_gateway_passes_on_a_path_without_the_slash_at_its_end(quiet_server: Server) -> None:
    answer = quiet_server.client.get("/models/v2/list/models/?limit=1", follow_redirects=False)
    assert answer.status_code == 200, answer.text


def test_a_servers_end_ends_its_streams(quiet_server: Server) -> None:
    """Not after the ten seconds that requests in progress may take. The last test: it stops the server."""
    with quiet_server.client.stream("GET", "/models/v2/live") as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        assert quiet_server.process is not None
        quiet_server.process.terminate()
        for _ in pieces:
            continue
    quiet_server.process.wait(60)
