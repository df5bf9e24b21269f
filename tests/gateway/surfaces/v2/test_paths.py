"""Models of organisations that are words of our own paths: each is reached, and what is read at those paths stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.test_strangers import add_account
from tests.serving import Server, wait_until

READ_ELSEWHERE = ("list/clusters", "list/jobs", "list/models", "list/tasks", "usage/name")
"""Models whose path is another call's, for GET."""
WORDS = (
    *READ_ELSEWHERE,
    "events/name",
    "list/name",
    "logs/name",
    "model/name",
    "models/v2",
    "openai/v1",
    "openai/whisper-large-v3",
    "request/name",
)


@pytest.fixture(scope="module")
def words_server(zoo: Path, shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the same classifier under each of these names."""
    folder = tmp_path_factory.mktemp("words")
    for model_id in WORDS:
        shutil.copytree(zoo / "tiny/classifier", folder / model_id)
    with shared_server.with_models(folder) as running:
        yield running


@pytest.mark.parametrize("model_id", WORDS)
def test_models_of_every_organisation_are_reached(words_server: Server, model_id: str) -> None:
    client = words_server.client
    assert len(words_server.run(model_id, text="a wonderful story")) == 3
    read = client.get("/models/v2", params={"model": model_id, "events": 1}).json()["output"]
    assert (read["modelId"], read["inferences"], len(read["events"])) == (model_id, 1, 1)
    assert words_server.put(model_id, timeout=60).status_code == 202
    changed = client.patch(f"/models/v2/{model_id}", json={"timeout": 90}).json()["output"]
    assert (changed["modelId"], changed["timeout"]) == (model_id, 90)
    assert words_server.events(model_id)
    assert words_server.delete(model_id).status_code == 200
    assert client.get("/models/v2", params={"model": model_id}).status_code == 404


@pytest.mark.parametrize("model_id", sorted({*WORDS} - {*READ_ELSEWHERE}))
def test_a_cluster_is_read_at_its_own_path_where_nothing_else_is(words_server: Server, model_id: str) -> None:
    words_server.put(model_id)
    assert words_server.cluster(model_id)["modelId"] == model_id
    words_server.delete(model_id)


def test_what_the_api_reads_at_a_path_goes_first(words_server: Server) -> None:
    with add_account(words_server, "newcomer") as newcomer:
        newcomer.put("/models/v2/list/clusters")
        clusters, jobs, tasks = (
            newcomer.get(f"/models/v2/list/{name}").json()["output"] for name in ("clusters", "jobs", "tasks")
        )

        def listed() -> set[str]:
            return {model["modelId"] for model in newcomer.get("/models/v2/list/models").json()["output"]}

        wait_until(lambda: listed() >= {*WORDS})
        newcomer.delete("/models/v2/list/clusters")
    assert [cluster["modelId"] for cluster in clusters] == ["list/clusters"]
    assert jobs == []
    assert "chat" in tasks
    unknown = words_server.client.get("/models/v2/usage/req_of_nobody")
    assert (unknown.status_code, "No finished request" in unknown.json()["error"]) == (404, True)


def test_whose_cluster_to_read_must_be_said(words_server: Server) -> None:
    for query, words in (({}, "model"), ({"model": "usage"}, "org/name")):
        refused = words_server.client.get("/models/v2", params=query)
        assert (refused.status_code, words in refused.json()["error"]) == (422, True)
