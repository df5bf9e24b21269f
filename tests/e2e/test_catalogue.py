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
MEASURED, LICENSED = "odd/measured", "odd/licensed"
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


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with 27 text models, a painter and a broken one."""
    folder = tmp_path_factory.mktemp("catalogue")
    for name in (*NAMES, MEASURED):
        write(folder / name, model())
    write(folder / "odd" / "Painter", diffusers())
    write(folder / LICENSED, model(readme="---\nlicense: mit\n---\n"))
    write(folder / "odd" / "broken", {"config.json": model()["config.json"]})
    return folder


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with that folder, of which one model was measured and has a variant; it boots nothing."""
    server = Server(tmp_path_factory.mktemp("server"), root, boots=False)
    now = datetime.now(UTC)
    server.data_dir.mkdir()
    with Store.open(f"sqlite:///{server.data_dir}/modelyard.db") as store:
        store.models.put([Listing(f"{MEASURED}.onnx.8-bit", "variant", now, "text-generation", variant_of=MEASURED)])
        store.models.measure(MEASURED, memory_bytes=GIB, measured_at=now, benchmark=asdict(FIGURES))
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
    assert len(whole) == len(NAMES) + 5 + PUBLISHED
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


def test_lists_are_narrowed_by_licence_runtime_and_memory(server: Server) -> None:
    assert ids(server, license="mit") == [LICENSED]
    assert ids(server, runtime="diffusers") == ["odd/Painter"]
    assert ids(server, runtime="transformers", search="odd/") == ["odd/broken", LICENSED, MEASURED]
    assert MEASURED in ids(server, maxRam="1")
    assert MEASURED not in ids(server, maxRam="0.9")
    assert {each["ramRequired"] <= 0.9 for each in listed(server, maxRam="0.9")} == {True}


def test_what_is_here_and_what_is_not_are_lists_of_their_own(server: Server) -> None:
    here, others = ids(server, here="true"), ids(server, here="false")
    assert len(here) == len(NAMES) + 5
    assert {MEASURED, f"{MEASURED}.onnx.8-bit"} <= set(here)
    assert GPT2 in others
    assert len(others) == PUBLISHED
    assert sorted(here + others) == ids(server)
    assert ids(server, here="true", search="gpt2") == []
    seen: list[str] = []
    while page := ids(server, here="true", limit=9, **({"after": seen[-1]} if seen else {})):
        seen += page
    assert seen == here


@pytest.mark.parametrize(
    "query",
    [
        {"here": "there"},
        {"runtime": "abacus"},
        {"maxRam": "-1"},
        {"maxRam": "nan"},
        {"maxRam": "much"},
        {"maxRam": "1e300"},
    ],
    ids=str,
)
def test_what_no_list_can_be_narrowed_by_is_named(server: Server, query: dict[str, str]) -> None:
    response = server.client.get("/models/v2/list/models", params=query)
    assert response.status_code == 422
    assert response.json()["error"].startswith(next(iter(query)))


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
        "benchmark": None, "runtime": None, "servedForm": None, "aliasOf": None,
        "provider": None, "contextLength": None, "prices": None, "warning": None,
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


def test_variants_and_measurements_of_the_store_are_shown(server: Server) -> None:
    for query in ({"search": MEASURED}, {"modelId": MEASURED}):
        base = listed(server, **query)[0]
        assert (base["ramRequired"], base["memorySource"], base["benchmarked"]) == (1, "measured", True)
        assert base["variants"] == [f"{MEASURED}.onnx.8-bit"]
    variant = listed(server, search=".8-bit")[0]
    assert (variant["variantOf"], variant["ramRequired"], variant["benchmarked"]) == (MEASURED, None, False)
    row = next(row for row in server.client.get("/model/list").json() if row["name"].endswith(".8-bit"))
    assert (row["requiredRAM"], row["benchmarked"]) == (None, False)


@pytest.fixture
def aliases(server: Server) -> Iterator[dict[str, str]]:
    """The operator's aliases, by name, once the server knows them: at both ends of the list and in its middle."""
    names = {"0-first": "many/m03", "many/m05-again": "many/m05", "zz/last": "odd/broken", "zzz": "nobody/nowhere"}
    for name, model_id in names.items():
        server.command("aliases", "set", name, model_id)
    wait_until(lambda: {*names} <= {*ids(server)})
    yield names
    for name in names:
        server.command("aliases", "rm", name)
    wait_until(lambda: not ids(server, modelId="0-first"))


def test_aliases_are_among_the_models_on_every_page(server: Server, aliases: dict[str, str]) -> None:
    whole = ids(server)
    assert {*aliases} <= {*whole}
    assert whole == sorted(whole)
    for limit in (1, 2, 3, 5):
        seen: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            body = server.client.get("/models/v2/list/models", params=query).json()
            seen += [each["modelId"] for each in body["output"]]
            assert len(body["output"]) <= limit
            if "next" not in body:
                break
            query["after"] = body["next"]
        assert seen == whole


def test_an_alias_is_described_as_its_model_is(server: Server, aliases: dict[str, str]) -> None:
    of_model, of_alias = (listed(server, modelId=name)[0] for name in ("many/m03", "0-first"))
    assert of_model["aliasOf"] is None
    assert of_alias == {**of_model, "modelId": "0-first", "aliasOf": "many/m03"}
    shown = {each["modelId"]: each for each in listed(server)}
    assert shown["0-first"] == of_alias
    assert (shown["zzz"]["aliasOf"], shown["zzz"]["task"]) == ("nobody/nowhere", None)


def test_a_list_of_aliases_is_narrowed_like_one_of_models(server: Server, aliases: dict[str, str]) -> None:
    assert "0-first" in ids(server, task="text-generation")
    assert ids(server, task="text-to-image", search="first") == []
    assert ids(server, search="AGAIN") == ["many/m05-again"]
    assert {*aliases} <= {*ids(server, here="true")}
    assert {*aliases}.isdisjoint(ids(server, here="false"))
    of_openai = server.client.get("/v1/models", params={"search": "z"}).json()["data"]
    assert "zzz" in [each["id"] for each in of_openai]
    assert "zz/last" not in [each["id"] for each in of_openai], "its model cannot be served"


def test_no_other_account_is_shown_them(server: Server, aliases: dict[str, str]) -> None:
    key = server.command("keys", "create", "laptop", "--account", "eve-without-aliases")
    with server.client_of(key) as eve:
        for path in ("/models/v2/list/models", "/v1/models", "/model/list"):
            assert "0-first" not in eve.get(path).text
        assert eve.get("/models/v2/list/models", params={"modelId": "0-first"}).json()["output"] == []
        assert eve.get("/v1/models/0-first").status_code == 404


def test_calls_on_a_model_take_an_alias(server: Server, aliases: dict[str, str]) -> None:
    again = "many/m05-again"
    server.command("aliases", "set", again, "many/m05", "--desired", "2", "--max", "3")

    def is_made_so() -> bool:
        """Whether the server knows it by now."""
        assert server.put(again).status_code == 202
        return server.cluster(again)["capacity"]["max"] == 3 or not server.delete(again)

    wait_until(is_made_so)
    assert server.cluster("many/m05")["capacity"] == {"min": 0, "desired": 2, "max": 3}
    patched = server.client.patch(f"/models/v2/{again}", json={"timeout": 60, "status": "off"}).json()["output"]
    assert (patched["modelId"], patched["timeout"]) == ("many/m05", 60)
    assert server.client.get("/models/v2", params={"model": again}).json()["output"]["modelId"] == "many/m05"
    assert server.events(again) == server.events("many/m05")
    assert server.client.get("/models/v2/usage", params={"modelId": again}).status_code == 200
    told = server.client.get(f"/models/v2/request/{again}")
    assert "many/m05." in told.json()["error"]
    assert server.client.post("/model/status", json={"model": again}).json()["model"] == "many/m05"
    assert server.client.post("/model/delete", json={"model": again}).status_code == 200
    loaded = server.client.post("/model/load", json={"model": "0-first"}).json()
    assert (loaded["model"], loaded["concurrency"]) == ("many/m03", 1)
    assert server.delete("many/m03").status_code == 200
