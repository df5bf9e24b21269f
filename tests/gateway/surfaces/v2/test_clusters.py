"""The life of a cluster over HTTP: create, read, change, delete, lists, accounts."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.plugin import ZOO
from tests.serving import KEY, REQUEST_S, Server

CLUSTER_KEYS = {
    "modelId", "status", "created", "modified", "timeout", "capacity", "instances", "inferences", "lastInference",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_clusters_left(server: Server) -> Iterator[None]:
    yield
    for cluster in server.client.get("/models/v2/list/clusters").json()["output"]:
        server.delete(cluster["modelId"])


def test_put_creates_a_cluster_that_becomes_running_and_patch_scales_it_up_and_down(server: Server) -> None:
    response = server.put("tiny/classifier", capacity={"max": 2, "desired": 1}, timeout=3600)
    assert response.status_code == 202
    assert response.json() == {"error": None, "output": "Loading"}
    cluster = server.wait_for("tiny/classifier", status="running", ready=1)
    assert cluster["capacity"] == {"min": 0, "desired": 1, "max": 2}
    assert cluster["timeout"] == 3600
    assert cluster["instances"] == 1
    response = server.client.patch("/models/v2/tiny/classifier", json={"capacity": {"desired": 2}})
    assert response.status_code == 200
    assert response.json()["output"]["capacity"] == {"min": 0, "desired": 2, "max": 2}
    server.wait_for("tiny/classifier", status="running", ready=2)
    server.client.patch("/models/v2/tiny/classifier", json={"capacity": {"desired": 1, "max": 1}})
    server.wait_for("tiny/classifier", status="running", ready=1, instances=1)


def test_put_with_an_empty_body_takes_the_defaults_and_get_answers_under_both_keys(server: Server) -> None:
    response = server.client.put("/models/v2/tiny/classifier")
    assert response.status_code == 202
    body = server.client.get("/models/v2/tiny/classifier").json()
    assert body["error"] is None
    assert body["output"] == body["cluster"]
    assert body["output"].keys() >= CLUSTER_KEYS
    assert body["output"]["created"].endswith("Z")
    assert body["output"]["capacity"] == {"min": 0, "desired": 1, "max": 1}


def test_put_on_an_existing_cluster_updates_it(server: Server) -> None:
    server.put("tiny/classifier", capacity={"desired": 0, "max": 3}, timeout=60)
    created = server.cluster("tiny/classifier")["created"]
    server.put("tiny/classifier", capacity={"desired": 1})
    cluster = server.cluster("tiny/classifier")
    assert cluster["capacity"] == {"min": 0, "desired": 1, "max": 3}
    assert cluster["timeout"] == 60
    assert cluster["created"] == created


def test_patch_switches_a_cluster_off_and_on(server: Server) -> None:
    server.put("tiny/classifier")
    server.wait_for("tiny/classifier", status="running")
    server.client.patch("/models/v2/tiny/classifier", json={"status": "off"})
    server.wait_for("tiny/classifier", status="stopped", instances=0)
    refused = server.post("tiny/classifier", text="hello")
    assert refused.status_code == 503
    assert "PATCH" in refused.json()["error"]
    server.client.patch("/models/v2/tiny/classifier", json={"status": "on"})
    server.wait_for("tiny/classifier", status="running", instances=1)


def test_delete_stops_every_instance_and_forgets_the_cluster(server: Server) -> None:
    server.put("tiny/classifier", capacity={"desired": 2, "max": 2})
    server.wait_for("tiny/classifier", status="running", ready=2)
    assert server.delete("tiny/classifier").status_code == 200
    assert server.worker_pids() == []
    gone = server.client.get("/models/v2/tiny/classifier")
    assert gone.status_code == 404
    assert gone.json()["output"] is None
    assert server.delete("tiny/classifier").status_code == 404


def test_a_request_without_a_cluster_makes_one_that_counts_inferences_and_tells_its_story(server: Server) -> None:
    assert server.client.get("/models/v2/tiny/classifier").status_code == 404
    server.run("tiny/classifier", text="hello")
    cluster = server.cluster("tiny/classifier")
    assert cluster["status"] == "running"
    for _ in range(3):
        server.run("tiny/classifier", text="hello")
    asked = server.cluster("tiny/classifier")
    assert asked["inferences"] == cluster["inferences"] + 3
    assert asked["lastInference"] > asked["created"]
    story = " | ".join(server.events("tiny/classifier"))
    for part in ("cluster created: min 0, desired 1, max 1", "reserved", "is ready after"):
        assert part in story
    detailed = server.client.get("/models/v2/tiny/classifier?events=2").json()["output"]["events"]
    assert len(detailed) == 2
    logs = server.client.get("/models/v2/logs/tiny/classifier").json()["output"]
    assert "loaded tiny/classifier" in logs[0]["text"]


def test_an_idle_cluster_scales_to_zero_and_the_next_request_boots_it(server: Server) -> None:
    server.put("tiny/classifier", timeout=1)
    server.run("tiny/classifier", text="hello")
    server.wait_for("tiny/classifier", status="stopped", instances=0)
    server.run("tiny/classifier", text="hello")
    assert any("no request for 1 s" in line for line in server.events("tiny/classifier"))


def test_min_replicas_are_kept_when_idle(server: Server) -> None:
    server.put("tiny/classifier", capacity={"min": 1, "desired": 2, "max": 2})
    server.wait_for("tiny/classifier", ready=2)
    server.client.patch("/models/v2/tiny/classifier", json={"timeout": 1})
    server.wait_for("tiny/classifier", ready=1, instances=1)


def test_lists(server: Server) -> None:
    tasks = server.client.get("/models/v2/list/tasks").json()["output"]
    assert {"chat", "text-generation", "question-answering"} <= set(tasks)
    models = server.client.get("/models/v2/list/models").json()["output"]
    assert {model["modelId"] for model in models if model["source"] == "folder"} == set(ZOO)
    classifiers = server.client.get("/models/v2/list/models?task=text-classification").json()["output"]
    assert [model["modelId"] for model in classifiers] == ["tiny/classifier"]
    for query in ("task=chta", "task=chta&modelId=tiny/chat"):
        mistaken = server.client.get(f"/models/v2/list/models?{query}")
        assert mistaken.status_code == 422
        assert re.search("task: got 'chta'; accepted: one of .*, chat, .*, translation", mistaken.json()["error"])
    (one,) = server.client.get("/models/v2/list/models?modelId=tiny/chat").json()["output"]
    assert one["task"] == "chat"
    assert one["ramRequired"] > 0
    assert one["params"] > 0
    assert {"meter", "meterPrice", "benchmarked"} <= one.keys()
    assert server.client.get("/models/v2/list/models?modelId=tiny/nothing").json() == {"error": None, "output": []}
    server.put("tiny/classifier")
    (cluster,) = server.client.get("/models/v2/list/clusters").json()["output"]
    assert cluster["modelId"] == "tiny/classifier"


def test_three_header_forms_are_accepted(server: Server) -> None:
    for header in (f"Key {KEY}", f"Bearer {KEY}", KEY, f"key {KEY}"):
        response = httpx.get(
            f"{server.url}/models/v2/list/clusters", headers={"AUTHORIZATION": header}, timeout=REQUEST_S
        )
        assert response.status_code == 200, header


@pytest.mark.parametrize("header", [None, "Key wrong", "Bearer", "wrong", "Basic dGVzdDp0ZXN0"])
def test_missing_and_unknown_keys_get_401(server: Server, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    for method, path in (("GET", "list/clusters"), ("PUT", "tiny/classifier"), ("POST", "tiny/classifier")):
        response = httpx.request(method, f"{server.url}/models/v2/{path}", headers=headers, json={}, timeout=REQUEST_S)
        assert response.status_code == 401
        assert response.json()["output"] is None
        assert "key" in response.json()["error"].lower()


def test_an_account_sees_only_its_own_clusters(server: Server) -> None:
    other = httpx.Client(
        base_url=server.url, headers={"authorization": f"Key {create_key(server, 'other')}"}, timeout=60
    )
    server.put("tiny/classifier")
    assert other.get("/models/v2/tiny/classifier").status_code == 404
    assert other.get("/models/v2/list/clusters").json()["output"] == []
    assert other.patch("/models/v2/tiny/classifier", json={"timeout": 1}).status_code == 404
    assert other.delete("/models/v2/tiny/classifier").status_code == 404
    assert other.put("/models/v2/tiny/classifier", json={"timeout": 7}).status_code == 202
    assert other.get("/models/v2/tiny/classifier").json()["output"]["timeout"] == 7
    assert server.cluster("tiny/classifier")["timeout"] == 1800
    assert other.delete("/models/v2/tiny/classifier").status_code == 200
    other.close()


def create_key(server: Server, account: str) -> str:
    """A key of another account, made as an operator would."""
    return server.command("keys", "create", "test", "--account", account)


def test_health_needs_no_key(server: Server) -> None:
    for path in ("/health", "/livez", "/readyz"):
        assert httpx.get(f"{server.url}{path}", timeout=REQUEST_S).status_code == 200


def test_the_api_describes_every_field_of_itself(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json", timeout=REQUEST_S).json()
    assert {"/models/v2/{org}/{model}", "/models/v2/list/models", "/health"} <= document["paths"].keys()
    undescribed = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, kind in schema.get("properties", {}).items()
        if "description" not in kind and "$ref" not in kind and name != "Inference"
    ]
    assert undescribed == []
    page = httpx.get(f"{server.url}/docs", timeout=REQUEST_S)
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")
    assert httpx.get(f"{server.url}/docs/assets/swagger-ui-bundle.js", timeout=REQUEST_S).status_code == 200
