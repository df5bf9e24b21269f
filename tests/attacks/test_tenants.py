"""What one account is told of another: nothing. Every call that the server describes is asked, whatever it answers."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.attacks.test_strangers import add_account
from tests.builders import build
from tests.operations import goes_on, operations
from tests.serving import PLAIN, REQUEST_S, Server, wait_until

NOT_REPEATED = "It asks every call once, and looks at what is told."

THEIRS, MINE, MISTYPED = "hidden-org/their-model", "open-org/my-model", "hidden-org/their-modle"
MEMORY_GB = "0.14"
"""One of the two models fits, and not the other beside it."""
LISTS_OF_MODELS = ("/models/v2/list/models", "/model/list", "/v1/models", "/models/v2/openai/v1/models")
"""What the server offers, to everybody."""
SHORT = {"text": "the cat", "params": {"max_new_tokens": 2}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tenants")
    build("gpt2", folder / "models" / MINE)
    shutil.copytree(folder / "models" / MINE, folder / "models" / THEIRS)
    with Server(folder, folder / "models", "--memory-gb", MEMORY_GB) as server:
        yield server


def marks_of(server: Server, client: httpx.Client, name: str, request_id: str) -> set[str]:
    """All that would tell one account of another: its name and ids, its instances, requests, jobs and their times."""
    with closing(sqlite3.connect(server.data_dir / "modelyard.db", timeout=60)) as database:
        ((account_id,),) = database.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchall()
    lines = client.get("/models/v2/usage", params={"lines": "true"}).json()["output"]["lines"]
    jobs = client.get("/models/v2/list/jobs").json()["output"]
    times = [job[moment] for job in jobs for moment in ("created", "startTime", "endTime") if job[moment]]
    return {
        name,
        account_id,
        request_id,
        *(line["instanceId"] for line in lines),
        *(line["from"] for line in lines),
        *times,
    }


def calls(server: Server, model_id: str, request_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every call of the server's own description about a model: method, path, and what to send. Deletions come last."""
    document = httpx.get(f"{server.url}/openapi.json", timeout=REQUEST_S, verify=PLAIN).json()
    org, _, model = model_id.partition("/")
    names = {"org": org, "model": model, "task": "text-generation", "request_id": request_id, "name": "nothing.png"}
    names |= {"provider": "openrouter"}
    names |= {"alias": "a-name", "response_id": "resp_1", "account": "an-account", "key": "key_none"}
    names |= {"node": "a-node"}
    every = list(operations(document))
    for method, path, operation in sorted(every, key=lambda call: (call[0] == "delete", call[:2])):
        sent: dict[str, Any] = {}
        if method == "get" and "usage" in path:
            sent = {"params": {"lines": "true"}}
        elif goes_on(operation):
            sent = {"params": {"seconds": "0"}}
        elif method in ("post", "put", "patch"):
            sent = {"json": body_for(path, method, model_id)}
        yield method.upper(), path.format(**names), sent


def body_for(path: str, method: str, model_id: str) -> dict[str, Any]:
    if path.startswith("/model/"):
        return {"model": model_id, **({"text": "the cat"} if path.endswith("/run") else {})}
    if "request" in path:
        return {}
    return {"timeout": 60} if method in ("put", "patch") else SHORT


def check(answer: httpx.Response, marks: set[str]) -> None:
    asked = answer.request.url.path
    told = {mark for mark in marks if mark not in asked and (mark in answer.text or mark in str(answer.headers))}
    assert not told, (answer.request.method, asked, told, answer.text[:500])


def walk(server: Server, client: httpx.Client, model_id: str, marks: set[str], request_id: str) -> int:
    """Asks everything about a model, and of another's request; how many answers there were."""
    count = 0
    for method, path, sent in calls(server, model_id, request_id):
        answer = client.request(method, path, headers={"x-request-timeout": "1"}, **sent)
        check(answer, marks - {MINE, THEIRS} if path in LISTS_OF_MODELS else marks)
        count += 1
    return count


def test_the_operator_reads_what_is_in_the_way(server: Server) -> None:
    with add_account(server, "carol") as carol:
        assert carol.put(f"/models/v2/{THEIRS}", json={"capacity": {"min": 1}}).status_code == 202
        wait_until(lambda: carol.get(f"/models/v2/{THEIRS}").json()["output"]["status"] == "running")
        assert server.put(MINE, capacity={"min": 1}).status_code == 202
        wait_until(lambda: [line for line in server.events(MINE) if "waiting for" in line])
        assert [line for line in server.events(MINE) if "free" in line and THEIRS in line], server.events(MINE)
        for client in (carol, server.client):
            for model_id in (MINE, THEIRS):
                client.delete(f"/models/v2/{model_id}")


def test_no_answer_tells_one_account_of_another(server: Server) -> None:
    with add_account(server, "alice-of-acme") as alice, add_account(server, "bob-of-zeta") as bob:
        assert alice.put(f"/models/v2/{THEIRS}", json={"capacity": {"min": 1}}).status_code == 202
        first = alice.post(f"/models/v2/{THEIRS}", json=SHORT)
        assert first.status_code == 200, first.text
        alice.post(f"/models/v2/request/{THEIRS}")
        marks = marks_of(server, alice, "alice-of-acme", first.headers["x-request-id"])
        assert len(marks) >= 5, marks

        # A model that waits for another account's says so, and not for whose.
        assert bob.put(f"/models/v2/{MINE}", json={"capacity": {"min": 1}}).status_code == 202
        waiting = wait_until(lambda: [line for line in events(bob, MINE) if "waiting for" in line])
        assert not [line for line in waiting if "free" in line], "what is free tells what the other one holds"
        request_id = first.headers["x-request-id"]
        assert walk(server, bob, MINE, {*marks, THEIRS}, request_id) > 20
        assert walk(server, bob, THEIRS, marks, request_id) > 20
        assert bob.put(f"/models/v2/{MINE}", json={"capacity": {"min": 1}}).status_code == 202
        check(bob.post(f"/models/v2/{MISTYPED}", json=SHORT), marks)

        # And the other way round, once that one has had to go.
        assert alice.patch(f"/models/v2/{THEIRS}", json={"capacity": {"min": 0}}).status_code == 200
        mine = bob.post(f"/models/v2/{MINE}", json=SHORT)
        assert mine.status_code == 200, mine.text
        wait_until(lambda: [line for line in events(alice, THEIRS) if "evicted" in line])
        others = {*marks_of(server, bob, "bob-of-zeta", mine.headers["x-request-id"]), MINE}
        check(alice.get(f"/models/v2/events/{THEIRS}"), others)
        for client in (alice, bob):
            for model_id in (MINE, THEIRS):
                client.delete(f"/models/v2/{model_id}")


def events(client: httpx.Client, model_id: str) -> list[str]:
    return [event["message"] for event in client.get(f"/models/v2/events/{model_id}").json()["output"]]
