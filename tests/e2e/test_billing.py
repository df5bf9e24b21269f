"""The bill over HTTP: what a request cost, what an account used, and what happens when its money is spent."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from modelyard.accounts.keys import hash_key, shown_prefix
from modelyard.accounts.ledger import lines, total
from modelyard.accounts.usage import read_moment
from modelyard.money import decimal
from modelyard.records.accounts import Account
from modelyard.records.instances import Instance
from modelyard.store.store import Store
from modelyard.store.tables import requests
from modelyard.units import GIB
from tests.command import run_command
from tests.serving import KEY, REQUEST_S, Server, wait_until
from tests.store.samples import fund

MODEL = "tiny/gpt2"
LONG = {"max_new_tokens": 100, "min_new_tokens": 100, "do_sample": False}
SHORT = {"max_new_tokens": 3}
HEARTBEAT_S = 10.0
"""How often a server writes that its instances live, unless its machine is very busy."""
STRANGER = "key-of-a-stranger"


@pytest.fixture(scope="module")
def billed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose instances are billed by the second, ten at least, and at a price that leaves no zeros."""
    terms = ("--billing-minimum-s", "10", "--billing-round-s", "1", "--price-per-gb-s", "0.1")
    with Server(tmp_path_factory.mktemp("billing"), zoo, *terms) as running:
        with open_store(running) as store:
            stranger = store.accounts.ensure("stranger", datetime.now(UTC))
            store.keys.ensure(stranger.id, "theirs", hash_key(STRANGER), shown_prefix(STRANGER), datetime.now(UTC))
        yield running


@pytest.fixture(autouse=True)
def clean(billed: Server) -> Iterator[None]:
    """Each test leaves no limit, and no model loaded but the one that nearly all ask."""
    yield
    with open_store(billed) as store:
        fund(store, admin(store), credit_nano=None, monthly_limit_nano=None)
    for cluster in billed.clusters():
        if cluster["modelId"] != MODEL:
            billed.delete(cluster["modelId"])


def open_store(server: Server) -> Store:
    return Store.open(f"sqlite:///{server.data_dir}/modelyard.db")


def admin(store: Store) -> Account:
    account = store.accounts.find_by_name("admin")
    assert account is not None
    return account


def lives(server: Server) -> list[Instance]:
    with open_store(server) as store:
        return list(store.instances.list(admin(store).id))


def read(server: Server, path: str, **query: Any) -> Any:
    """What is told once all that is over has been written, for which one is told to come back on a busy machine."""

    def find_answer() -> httpx.Response | None:
        answer = server.client.get(f"/models/v2/{path}", params=query)
        return answer if answer.status_code != 503 else None

    response = wait_until(find_answer)
    assert response.status_code == 200, response.text
    return response.json()["output"]


@contextmanager
def held_by_its_worker(server: Server, **body: Any) -> Iterator[HTTPConnection]:
    """A request to MODEL that its worker has not begun to answer and goes on with afterwards."""
    pid = server.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
    try:
        connection.request("POST", f"/models/v2/{MODEL}", json.dumps(body), {"authorization": KEY})
        wait_until(lambda: server.load()[0] == 1)
        yield connection
    finally:
        with suppress(ProcessLookupError):  # the test may have ended it
            os.kill(pid, signal.SIGCONT)


def is_connected(server: Server, port: int) -> bool:
    """Whether the server holds a connection to a client on this port."""
    return any(connection.raddr and connection.raddr.port == port for connection in server.sockets())


def newest_request_id(server: Server) -> str:
    read(server, "usage")  # asking writes down what is over
    newest = select(requests.c.id).order_by(requests.c.at.desc()).limit(1)
    with open_store(server) as store, store._database.read() as connection:
        return str(connection.execute(newest).scalar_one())


def test_the_headers_are_exact_and_say_what_is_recorded(billed: Server) -> None:
    headers = billed.post(MODEL, text="the cat", params=SHORT).headers
    seen = read(billed, f"usage/{headers['x-request-id']}")
    (life,) = [each for each in lives(billed) if each.ended_at is None]
    assert (seen["modelId"], seen["outcome"], seen["instanceId"]) == (MODEL, "answered", life.id)
    assert seen["meter"] == headers["inference-meter"] == "xs"
    assert seen["time"] == float(headers["inference-time"]) > 0
    assert decimal(seen["costNano"]) == headers["inference-cost"]
    exact = Decimal(life.memory_bytes) / GIB * Decimal(headers["inference-time"]) * Decimal("0.1")
    assert abs(Decimal(headers["inference-cost"]) - exact) <= Decimal("0.5e-9")
    assert abs(Decimal(headers["inference-meter-price"]) - Decimal(life.memory_bytes) / GIB / 10) <= Decimal("0.5e-12")
    assert seen["chargedNano"] == 0, "the instance's time is what is billed"


@pytest.mark.parametrize("surface", ["v1", "v2"])
def test_a_streams_true_figures_are_known_afterwards(billed: Server, surface: str) -> None:
    billed.run(MODEL, text="warm", params=SHORT)
    if surface == "v1":
        body = {"model": MODEL, "prompt": "the cat", "params": LONG, "stream": True}
        response = billed.client.post("/model/run", json=body)
    else:
        response = billed.post(MODEL, text="the cat", stream=True, params=LONG)
    assert response.headers["inference-cost"] == "0.000000000"
    seen = read(billed, f"usage/{response.headers['x-request-id']}")
    assert (seen["outcome"], seen["time"] > 0, seen["costNano"] > 0) == ("answered", True, True)
    assert 0 < seen["newTokens"] <= LONG["max_new_tokens"]
    assert seen["promptTokens"] > 0


def test_a_request_that_was_left_is_metered_for_the_time_it_took(billed: Server) -> None:
    billed.run(MODEL, text="warm", params=SHORT)
    with held_by_its_worker(billed, text="the cat", stream=True, params=LONG) as connection:
        port = connection.sock.getsockname()[1]
        connection.close()
        wait_until(lambda: not is_connected(billed, port))
        assert billed.load() == (1, 0)  # its worker has not let go of it
    wait_until(lambda: billed.load() == (0, 0))
    seen = read(billed, f"usage/{newest_request_id(billed)}")
    assert (seen["outcome"], seen["costNano"] > 0) == ("cancelled", True)


def test_a_request_that_an_instance_refuses_is_metered(billed: Server) -> None:
    refused = billed.post(MODEL, text="the cat " * 500, params=SHORT)
    assert 400 <= refused.status_code < 600
    seen = read(billed, f"usage/{refused.headers['x-request-id']}")
    assert (seen["outcome"], seen["time"] > 0) == ("failed", True)


def test_nobody_sees_the_requests_of_others(billed: Server) -> None:
    request_id = billed.post(MODEL, text="the cat", params=SHORT).headers["x-request-id"]
    for url, key in ((request_id, STRANGER), ("req_0", "test-key")):
        answer = httpx.get(f"{billed.url}/models/v2/usage/{url}", headers={"authorization": key}, timeout=REQUEST_S)
        assert answer.status_code == 404
        assert url in answer.json()["error"]
    theirs = httpx.get(
        f"{billed.url}/models/v2/usage?lines=1", headers={"authorization": STRANGER}, timeout=REQUEST_S
    ).json()["output"]
    assert (theirs["rows"], theirs["lines"], theirs["total"]["costNano"]) == ([], [], 0)
    by_key = httpx.get(
        f"{billed.url}/models/v2/usage/keys", headers={"authorization": STRANGER}, timeout=REQUEST_S
    ).json()["output"]
    assert by_key == []


def test_usage_can_be_computed_again_from_its_lines(billed: Server) -> None:
    billed.run(MODEL, text="the cat", params=SHORT)
    billed.run("tiny/classifier", text="the cat")
    for model_id in (MODEL, "tiny/classifier"):
        billed.delete(model_id)
    usage = read(billed, "usage", lines="true")
    assert usage["funds"] is None
    assert sum(row["costNano"] for row in usage["rows"]) == usage["total"]["costNano"]
    assert sum(line["costNano"] for line in usage["lines"]) == usage["total"]["costNano"]
    assert usage["total"]["costNano"] == total(lines(lives(billed))).amount_nano > 0
    for line in usage["lines"]:
        took = (read_moment(line["to"], "to") - read_moment(line["from"], "from")).total_seconds()
        assert line["seconds"] == pytest.approx(took, abs=1e-9)
        assert line["billedSeconds"] == max(10, -(-line["seconds"] // 1))
        assert line["cost"] == pytest.approx(line["ramRequired"] * line["billedSeconds"] * 0.1, abs=1e-9)
    by_model = {row["modelId"]: row for row in read(billed, "usage", groupBy="model")["rows"]}
    assert by_model["tiny/classifier"]["requests"] >= 1
    only = read(billed, "usage", modelId="tiny/classifier")
    assert only["total"]["costNano"] == by_model["tiny/classifier"]["costNano"]
    assert read(billed, "usage", since="2020-01-01", until="2020-02-01")["rows"] == []
    (by_key,) = read(billed, "usage/keys", modelId="tiny/classifier")
    assert (by_key["requests"], by_key["revoked"]) == (by_model["tiny/classifier"]["requests"], False)
    assert by_key["keyName"]
    assert by_key["costNano"] > by_key["chargedNano"] == 0, "the instance's time is what is billed"
    assert read(billed, "usage/keys", since="2020-01-01", until="2020-02-01") == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, ["since", "yesterday", "ISO"]),
        ({"since": "2026-05-02", "until": "2026-05-01"}, ["until", "2026-05-01", "after since"]),
        ({"groupBy": "year"}, ["groupBy", "year", "day or model"]),
        ({"lines": "perhaps"}, ["lines", "perhaps", "true or false"]),
        ({"modelId": "gpt2"}, ["model", "gpt2", "org/name"]),
    ],
)
def test_a_wrong_question_names_the_field(billed: Server, query: dict[str, str], words: list[str]) -> None:
    response = billed.client.get("/models/v2/usage", params=query)
    assert response.status_code == 422
    assert all(word in response.json()["error"] for word in words)


def test_the_command_prints_the_same_bill(billed: Server) -> None:
    billed.run(MODEL, text="the cat", params=SHORT)
    billed.delete(MODEL)

    def command(*flags: str, code: int = 0) -> str:
        done = run_command(["usage", "--data-dir", str(billed.data_dir), *flags])
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    served = read(billed, "usage")["total"]
    rows = json.loads(command("--account", "admin", "--json"))
    assert sum(Decimal(row["cost_usd"]) for row in rows) * 10**9 == served["costNano"]
    assert sum(row["requests"] for row in rows) == served["requests"]
    assert list(csv.DictReader(io.StringIO(command("--csv")))) == [
        {name: str(value) for name, value in row.items()} for row in rows
    ]
    per_life = list(csv.DictReader(io.StringIO(command("--lines", "--csv"))))
    assert {row["instance"] for row in per_life} == {life.id for life in lives(billed)}
    assert sum(Decimal(row["cost_usd"]) for row in per_life) * 10**9 == served["costNano"]
    assert MODEL in command()
    assert "Nothing was used" in command("--account", "stranger")
    assert "No account is called nobody; there are admin, modelyard, stranger" in command("--account", "nobody", code=1)


@pytest.mark.parametrize("kind", ["credit_nano", "monthly_limit_nano"])
def test_at_zero_streams_finish_clusters_stop_and_money_brings_them_back(billed: Server, kind: str) -> None:
    billed.put(MODEL, capacity={"min": 1})
    billed.wait_for(MODEL, ready=1)
    expected = billed.run(MODEL, text="the cat", params=LONG)
    with open_store(billed) as store:
        account = admin(store)
        with held_by_its_worker(billed, text="the cat", stream=True, params=LONG) as connection:
            fund(store, account, **{kind: 1})
            refused = wait_until(lambda: (r := billed.post("tiny/classifier", text="x")).status_code == 402 and r)
            assert "admin has spent $" in refused.json()["error"]
            assert "$0.000000001" in refused.json()["error"]
            assert billed.put(MODEL, capacity={"min": 1}).status_code == 402
            for path in ("/model/load", "/model/job", "/models/v2/request/tiny/t5"):
                asked = billed.client.post(path, json={"model": "tiny/t5"} if path.startswith("/model/") else {})
                assert (asked.status_code, "error" in asked.json()) == (402, True)
            billed.wait_for(MODEL, status="stopping", inFlight=1, ready=0)
        assert connection.getresponse().read().decode() == expected
        connection.close()
        cluster = billed.wait_for(MODEL, status="stopped", instances=0)
        assert cluster["error"].startswith("admin has spent $")
        assert read(billed, "usage")["funds"]["leftNano"] == 0
        assert any("has spent" in line for line in billed.events(MODEL))
        if kind == "credit_nano":
            store.accounts.add_credit(account.id, 10**12)
        else:
            fund(store, account, **{kind: 10**12})
    billed.wait_for(MODEL, ready=1, error=None)
    assert billed.run(MODEL, text="the cat", params=LONG) == expected
    funds = read(billed, "usage")["funds"]
    assert 0 < funds["left"] < 1000


def test_after_a_kill_the_ledger_ends_at_the_last_heartbeat_and_charges_nothing_twice(billed: Server) -> None:
    billed.put(MODEL, capacity={"min": 1})
    billed.wait_for(MODEL, ready=1)
    for _ in range(5):
        billed.run(MODEL, text="the cat", params=SHORT)
    counted = read(billed, "usage")["total"]["requests"]  # asking writes down what is over
    (before,) = [life for life in lives(billed) if life.ended_at is None]
    billed.kill()
    died = datetime.now(UTC)
    (left,) = [life for life in lives(billed) if life.ended_at is None]
    billed.start()
    billed.wait_for(MODEL, ready=1)
    read(billed, "usage")  # asking writes down what has begun
    (closed,) = [life for life in lives(billed) if life.id == before.id]
    (open_now,) = [life for life in lives(billed) if life.ended_at is None]
    assert open_now.id != closed.id
    assert closed.ended_at == left.heartbeat_at
    assert 0 <= (died - closed.ended_at).total_seconds() < 3 * HEARTBEAT_S
    assert closed.end_reason == "the server was killed"
    assert open_now.ready_at is not None
    assert open_now.ready_at > closed.ended_at
    billed.delete(MODEL)
    wait_until(lambda: all(life.ended_at for life in lives(billed)))  # else it costs more with each look
    usage = read(billed, "usage", lines="true")
    ids = [line["instanceId"] for line in usage["lines"]]
    assert len(ids) == len(set(ids))
    assert usage["total"]["requests"] == counted
    assert usage["total"]["costNano"] == total(lines(lives(billed))).amount_nano


@pytest.fixture(scope="module")
def by_request(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where requests are billed and instances are not."""
    terms = ("--billing-counts", "inference", "--billing-reserve-s", "5", "--price-per-gb-s", "0.1")
    with Server(tmp_path_factory.mktemp("by-request"), zoo, *terms) as running:
        yield running


def test_where_requests_are_billed_each_is_charged_what_its_headers_say(by_request: Server) -> None:
    costs = [by_request.post(MODEL, text=f"the cat {n}", params=SHORT).headers["inference-cost"] for n in range(5)]
    usage = read(by_request, "usage", lines="true")
    assert (usage["lines"], usage["total"]["instances"], usage["total"]["requests"]) == ([], 0, 5)
    assert usage["total"]["costNano"] == sum(Decimal(cost) for cost in costs) * 10**9 > 0


def test_no_request_begins_that_the_credit_does_not_cover(by_request: Server) -> None:
    by_request.run(MODEL, text="warm", params=SHORT)
    assert read(by_request, "usage")["funds"] is None  # asking writes down what is under way
    with open_store(by_request) as store:
        account = admin(store)
        spent = store.requests.spent_nano(account.id)
        set_aside = round(lives(by_request)[0].memory_bytes / GIB * 5 * 0.1 * 10**9)
        fund(store, account, credit_nano=spent + set_aside // 2)
        wait_until(lambda: read(by_request, "usage")["funds"])
        refused = by_request.post(MODEL, text="the cat", params=SHORT)
        assert refused.status_code == 402
        assert "needs $" in refused.json()["error"]
        assert store.requests.spent_nano(account.id) == spent, "nothing stays set aside"
        store.accounts.add_credit(account.id, 3 * set_aside)
        answer = wait_until(
            lambda: (r := by_request.post(MODEL, text="the cat", params=SHORT)).status_code == 200 and r
        )
        seen = read(by_request, f"usage/{answer.headers['x-request-id']}")
        assert decimal(seen["chargedNano"]) == answer.headers["inference-cost"]
        assert store.requests.spent_nano(account.id) == spent + seen["chargedNano"]
        by_request.post(MODEL, text="the cat", wrong=1)
        assert store.requests.oldest_open(account.id) is None


def test_what_was_set_aside_when_the_server_was_killed_is_free_again(by_request: Server) -> None:
    with open_store(by_request) as store:
        account = admin(store)
        fund(store, account, credit_nano=10**12)
        by_request.run(MODEL, text="warm", params=SHORT)
        wait_until(lambda: read(by_request, "usage")["funds"])
        with held_by_its_worker(by_request, text="the cat", stream=True, params=LONG) as connection:
            spent = store.requests.spent_nano(account.id)
            by_request.kill()
        connection.close()
        with store._database.read() as rows:
            left = rows.execute(select(requests).where(requests.c.settled_at.is_(None))).one()
        assert left.reserved_nano > 0
        by_request.start(warm=False, boots=False)
        after = wait_until(lambda: (r := store.requests.find(left.id)) and r.settled_at and r)
        assert (after.outcome, after.charged_nano) == ("lost", 0)
        assert store.requests.spent_nano(account.id) == spent - left.reserved_nano
