"""The catalogue over HTTP: what is listed, how it is narrowed and paged, and that it follows what is on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard.jobs.benchmark import Figures
from modelyard.records.models import Listing
from modelyard.store import Store
from modelyard.units import GIB
from tests.catalog.models import diffusers, model, write
from tests.serving import Server, wait_until

GPT2 = "openai-community/gpt2"
PUBLISHED = 46
NAMES = [f"many/m{number:02}" for number in range(25)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with 25 text models and a broken one."""
    folder = tmp_path_factory.mktemp("catalogue")
    for name in NAMES:
        write(folder / name, model())
    write(folder / "odd" / "Painter", diffusers())
    write(folder / "odd" / "broken", {"config.json": model()["config.json"]})
    return folder


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with that folder; it boots nothing."""
    server = Server(tmp_path_factory.mktemp("server"), root, boots=False)
    server.start(warm=False)
    try:
        yield server
    finally:
        server.client.close()
        server.stop()


def listed(server: Server, **query: Any) -> list[dict[str, Any]]:
    """The models of one page."""
    response = server.client.get("/models/v2/list/models", params=query)
    assert response.status_code == 200, response.text
    return list(response.json()["output"])


def ids(server: Server, **query: Any) -> list[str]:
    return [each["modelId"] for each in listed(server, **query)]


def test_pages_hold_every_model_exactly_once_in_order(server: Server) -> None:
    whole = ids(server)
    assert len(whole) == len(NAMES) + 2 + PUBLISHED
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        body = server.client.get("/models/v2/list/models", params=query).json()
        seen += [each["modelId"] for each in body["output"]]
        if "next" not in body:
            break
        assert len(body["output"]) == 7
        query["after"] = body["next"]
    assert seen == whole == sorted(whole)


@pytest.mark.parametrize("path", ["/models/v2/list/models", "/model/list"])
def test_link_headers_lead_through_all_pages_of_both_surfaces(server: Server, path: str) -> None:
    seen: list[str] = []
    response = server.client.get(path, params={"limit": 10, "task": "text-generation", "search": "many/"})
    while True:
        body = response.json()
        seen += [each["modelId"] for each in (body if isinstance(body, list) else body["output"])]
        if "next" not in response.links:
            break
        response = server.client.get(response.links["next"]["url"])
    assert seen == NAMES


def test_lists_are_narrowed_by_task_and_text_together(server: Server) -> None:
    assert ids(server, task="text-to-image") == ["odd/Painter"]
    assert ids(server, search="PAINT") == ["odd/Painter"]
    assert ids(server, search="many/m0", task="text-generation") == NAMES[:10]
    assert ids(server, search="many/m0", task="chat") == []
    assert ids(server, search="%") == ids(server, search="m_0") == ids(server, search="\0") == []
    assert GPT2 in ids(server, search="gpt2")


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "many", "9" * 5000])
def test_a_wrong_limit_is_named(server: Server, limit: str) -> None:
    response = server.client.get("/models/v2/list/models", params={"limit": limit})
    assert response.status_code == 422
    assert "limit" in response.json()["error"]
    assert "from 1 to 10000" in response.json()["error"]


def test_a_published_model_shows_what_was_published(server: Server) -> None:
    (coder,) = listed(server, modelId="codellama/CodeLlama-70b-Instruct-hf")
    assert coder == {
        "modelId": "codellama/CodeLlama-70b-Instruct-hf", "task": "chat", "params": 70, "ramRequired": 372.52,
        "memorySource": "published", "meter": "super", "meterPrice": pytest.approx(372.52 * 0.0000166667),
        "benchmarked": True, "architecture": None, "source": "published", "revision": None, "license": None,
        "variants": [], "variantOf": None, "quality": None, "adapter": None, "files": [], "error": None,
        "benchmark": None, "servedForm": None,
    }  # fmt: skip
    row = next(row for row in server.client.get("/model/list").json() if row["name"] == GPT2)
    assert (row["requiredRAM"], row["benchmarked"], row["task"]) == (0.5, True, "text-generation")


def test_a_model_known_by_its_files_is_an_estimate_until_measured(server: Server) -> None:
    (one,) = listed(server, modelId=NAMES[0])
    assert (one["memorySource"], one["benchmarked"], one["source"]) == ("estimated", False, "folder")
    assert one in listed(server)


def test_a_model_that_cannot_be_served_says_why_and_is_no_choice_in_v1(server: Server) -> None:
    (broken,) = listed(server, search="odd/broken")
    assert "no weights" in broken["error"]
    assert "odd/broken" not in [row["name"] for row in server.client.post("/model/list").json()]


def test_folders_that_come_change_and_go_are_seen_without_a_restart(server: Server, root: Path) -> None:
    path = write(root / "new" / "model", model())
    wait_until(lambda: ids(server, search="new/") == ["new/model"])
    write(path, {"README.md": b"---\npipeline_tag: feature-extraction\n---\n"})
    wait_until(lambda: ids(server, task="feature-extraction", search="new/") == ["new/model"])
    shutil.rmtree(path)
    wait_until(lambda: ids(server, search="new/") == [])


def test_files_replace_a_published_model_and_placement_never_uses_its_figure(server: Server, root: Path) -> None:
    path = write(root / GPT2, model())
    (found,) = wait_until(lambda: [each for each in listed(server, search=GPT2) if each["source"] == "folder"])
    assert (found["memorySource"], found["benchmarked"]) == ("estimated", False)
    assert found["ramRequired"] != 0.5
    shutil.rmtree(path)
    (back,) = wait_until(lambda: [each for each in listed(server, search=GPT2) if each["source"] == "published"])
    assert back["ramRequired"] == 0.5


FIGURES = Figures(
    load_s=0.2,
    peak_bytes=GIB,
    peak_bytes_alone=GIB // 2,
    latency_ms={"16 tokens": 5.0},
    largest="16 tokens",
    requests_per_s=200.0,
    requests_per_s_at_knee=300.0,
    knee=4,
    streams=False,
)


def test_variants_and_measurements_of_the_store_are_shown(root: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    (tmp_path / "data").mkdir()
    with Store.open(f"sqlite:///{tmp_path}/data/modelyard.db") as store:
        store.models.put([Listing(f"{NAMES[0]}.onnx.8-bit", "variant", now, "text-generation", variant_of=NAMES[0])])
        store.models.measure(NAMES[0], memory_bytes=GIB, measured_at=now, benchmark=asdict(FIGURES))
    server = Server(tmp_path, root, boots=False)
    server.start(warm=False)
    try:
        wait_until(lambda: NAMES[-1] in ids(server))
        for query in ({"search": NAMES[0]}, {"modelId": NAMES[0]}):
            base = listed(server, **query)[0]
            assert (base["ramRequired"], base["memorySource"], base["benchmarked"]) == (1, "measured", True)
            assert base["variants"] == [f"{NAMES[0]}.onnx.8-bit"]
        variant = listed(server, search=".8-bit")[0]
        assert (variant["variantOf"], variant["ramRequired"], variant["benchmarked"]) == (NAMES[0], None, False)
        row = next(row for row in server.client.get("/model/list").json() if row["name"].endswith(".8-bit"))
        assert (row["requiredRAM"], row["benchmarked"]) == (None, False)
    finally:
        server.client.close()
        server.stop()
