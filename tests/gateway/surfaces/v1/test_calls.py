"""The v1 surface: seed 003's calls as it shows them, on the same clusters as v2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving import REQUEST_S, Server, wait_until

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GREEDY = {"min_new_tokens": 8, "max_new_tokens": 8, "do_sample": False}


@pytest.fixture(autouse=True)
def no_clusters_left(server: Server) -> Iterator[None]:
    yield
    for cluster in server.client.get("/models/v2/list/clusters").json()["output"]:
        server.delete(cluster["modelId"])


def call(server: Server, name: str, status: int = 200, **body: Any) -> Any:
    """One v1 call; its body."""
    response = server.client.post(f"/model/{name}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def load(server: Server, model_id: str, **body: Any) -> Any:
    """Loads a model and waits until it runs; what `load` answered."""
    answer = call(server, "load", model=model_id, **body)
    wait_until(lambda: call(server, "status", model=model_id)["status"] == "RUNNING")
    return answer


def test_list_has_the_seeds_fields_and_filters_by_task(server: Server) -> None:
    for response in (server.client.get("/model/list"), server.client.post("/model/list")):
        rows = response.json()
        assert {"name", "requiredRAM", "benchmarked", "modelId", "ramRequired", "task"} == rows[0].keys()
    (row,) = server.client.get("/model/list?task=fill-mask").json()
    assert row["name"] == row["modelId"] == "tiny/mlm"
    assert isinstance(row["requiredRAM"], float)
    assert row["benchmarked"] is False
    assert server.client.get("/model/list?task=fill").status_code == 422


def test_load_answers_as_the_seed_shows_and_is_idempotent(server: Server) -> None:
    answer = call(server, "load", model="tiny/gpt2", concurrency=1)
    assert answer == {"model": "tiny/gpt2", "status": "started", "concurrency": 1}
    again = call(server, "load", model="tiny/gpt2", concurrency=1)
    assert again["status"] in ("STARTING", "INSTANTIATING", "RUNNING")
    assert re.search("already loaded|operation already in progress: load", again["message"])
    wait_until(lambda: call(server, "status", model="tiny/gpt2")["status"] == "RUNNING")
    assert call(server, "load", model="tiny/gpt2")["message"] == "already loaded"


def test_status_has_the_seeds_fields(server: Server) -> None:
    load(server, "tiny/gpt2", expirationPeriodSeconds=300)
    status = call(server, "status", model="tiny/gpt2")
    for name in ("expiresAt", "created", "modified"):
        assert MOMENT.fullmatch(status.pop(name))
    assert status == {
        "model": "tiny/gpt2", "status": "RUNNING", "concurrency": 1, "inferences": 0,
        "expirationPeriodSeconds": 300, "expirationPeriodMinutes": 5,
    }  # fmt: skip


def test_every_run_moves_the_expiry(server: Server) -> None:
    load(server, "tiny/classifier")
    before = call(server, "status", model="tiny/classifier")["expiresAt"]
    call(server, "run", model="tiny/classifier", text="hello")
    after = call(server, "status", model="tiny/classifier")
    assert after["expiresAt"] > before
    assert after["inferences"] == 1


def test_run_answers_in_the_librarys_shapes_and_streams_plain_text_with_the_prompt_first(
    server: Server,
) -> None:
    for model_id in ("tiny/gpt2", "tiny/t5", "tiny/chat", "tiny/classifier"):
        load(server, model_id)
    generated = call(server, "run", model="tiny/gpt2", prompt="Once upon a time", params=GREEDY)
    assert generated == {
        "output": [{"generated_text": server.run("tiny/gpt2", text="Once upon a time", params=GREEDY)}]
    }
    rewritten = call(server, "run", model="tiny/t5", text="the cat", params=GREEDY)
    assert rewritten["output"][0].keys() == {"generated_text"}
    messages = [{"role": "user", "content": "hello"}]
    answered = call(server, "run", model="tiny/chat", messages=messages, params=GREEDY)
    (conversation,) = answered["output"]
    assert conversation["generated_text"][:-1] == messages
    assert conversation["generated_text"][-1] == server.run("tiny/chat", messages=messages, params=GREEDY)
    assert call(server, "run", model="tiny/classifier", input="hello") == {
        "output": server.run("tiny/classifier", text="hello")
    }
    assert call(server, "run", model="tiny/classifier", text="hello", text_pair="there") == {
        "output": server.run("tiny/classifier", text="hello", text_pair="there")
    }
    body = {"model": "tiny/gpt2", "prompt": "Once upon a time", "params": GREEDY, "stream": True}
    with server.client.stream("POST", "/model/run", json=body) as response:
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        pieces = list(response.iter_raw())
    assert pieces[0] == b"Once upon a time"
    assert b"".join(pieces).decode() == server.run("tiny/gpt2", text="Once upon a time", params=GREEDY)


def test_a_model_that_is_not_loaded_is_pointed_to_load(server: Server) -> None:
    for name in ("run", "status"):
        answer = call(server, name, status=404, model="tiny/gpt2", prompt="hello")
        assert answer.keys() == {"error"}
        assert "/model/load" in answer["error"]


def test_an_expired_model_must_be_loaded_again(server: Server) -> None:
    call(server, "load", model="tiny/classifier", expirationPeriodSeconds=1)
    wait_until(lambda: call(server, "status", model="tiny/classifier")["status"] == "STOPPED")
    assert "/model/load" in call(server, "run", status=404, model="tiny/classifier", text="hello")["error"]
    assert call(server, "load", model="tiny/classifier")["status"] == "started"


def test_delete_stops_at_once_and_is_idempotent(server: Server) -> None:
    load(server, "tiny/gpt2")
    assert [each["model"] for each in server.client.get("/model/instances").json()] == ["tiny/gpt2"]
    for _ in range(2):
        assert call(server, "delete", model="tiny/gpt2") == {"model": "tiny/gpt2", "status": "stopped"}
    assert server.client.post("/model/instances").json() == []
    assert server.worker_pids() == []


def test_v1_and_v2_act_on_the_same_cluster(server: Server) -> None:
    load(server, "tiny/gpt2", concurrency=2, expirationPeriodSeconds=60)
    cluster = server.cluster("tiny/gpt2")
    assert (cluster["capacity"]["max"], cluster["timeout"]) == (2, 60)
    server.client.patch("/models/v2/tiny/gpt2", json={"timeout": 90})
    assert call(server, "status", model="tiny/gpt2")["expirationPeriodSeconds"] == 90
    call(server, "delete", model="tiny/gpt2")
    assert server.client.get("/models/v2/tiny/gpt2").status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("load", {}, 422, "model"),
        ("load", {"model": "tiny/gpt2", "concurrency": "many"}, 422, "concurrency"),
        ("load", {"model": "tiny/gpt2", "concurrency": 0}, 422, "concurrency"),
        ("load", {"model": "tiny/gpt2", "expirationPeriodSeconds": -1}, 422, "expirationPeriodSeconds"),
        ("load", {"model": "tiny/gtp2"}, 404, "tiny/gpt2"),
        ("run", {"model": 5}, 422, "model"),
        ("delete", {"model": "../etc"}, 422, "model"),
    ],
)
def test_bad_calls_are_told_what_is_wrong(
    server: Server, name: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = call(server, name, status=status, **body)
    assert answer.keys() == {"error"}
    assert words in answer["error"]
    assert server.client.get("/models/v2/list/clusters").json()["output"] == []


def test_a_stranger_gets_401(server: Server) -> None:
    response = server.client.post("/model/run", json={"model": "tiny/gpt2"}, headers={"authorization": "Key wrong"})
    assert response.status_code == 401
    assert response.json().keys() == {"error"}


@pytest.mark.parametrize("name", ["load", "status", "run", "instances", "delete", "job"])
def test_without_a_key_the_header_says_which_kind_is_wanted(server: Server, name: str) -> None:
    answer = httpx.post(f"{server.url}/model/{name}", json={"model": "tiny/gpt2"}, timeout=REQUEST_S)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Key realm="modelyard"')
