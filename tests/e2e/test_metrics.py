"""Metrics of a real server: who may read them, and that they agree with what clients saw."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.attacks.test_strangers import add_account
from tests.builders import build
from tests.serving import REQUEST_S, Server, free_port

MODEL = "tiny/gpt2"
NEW_TOKENS = 8


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("metrics")
    build("gpt2", folder / "models" / MODEL)
    with Server(folder, folder / "models", MODELYARD_METRICS_PORT=str(port)) as server:
        yield server


def samples(text: str) -> dict[str, float]:
    """By name, over all labels; of histograms only the counts."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            if "le" not in each.labels:
                found[each.name] = found.get(each.name, 0.0) + each.value
    return found


def test_what_clients_asked_for_is_counted(server: Server, port: int) -> None:
    params = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    assert server.post(MODEL, text="the cat", params=params).status_code == 200
    assert server.post(MODEL, text="the cat", params=params, stream=True).status_code == 200
    assert server.post(MODEL, text="the cat", params={"max_new_tokens": -1}).status_code == 422
    own = samples(server.client.get("/metrics").text)
    assert own["modelyard_requests_total"] == 3
    assert own["modelyard_new_tokens_total"] == 2 * NEW_TOKENS
    assert own["modelyard_first_piece_seconds_count"] == own["modelyard_token_seconds_count"] == 1
    assert own["modelyard_boot_seconds_count"] == own["modelyard_replicas"] == 1
    assert own["modelyard_memory_bytes"] > 0
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_S) as prometheus:
        assert samples(prometheus.get("/metrics").text)["modelyard_requests_total"] == 3
        vllm = samples(prometheus.get("/metrics", params={"names": "vllm"}).text)
        assert vllm["vllm:generation_tokens_total"] == 2 * NEW_TOKENS
        assert prometheus.get("/models/v2/list/models").status_code == 404


def test_other_accounts_and_strangers_read_nothing(server: Server) -> None:
    with add_account(server, "ada") as ada:
        refused = ada.get("/metrics")
    assert refused.status_code == 403
    assert "operator" in refused.json()["error"]
    assert httpx.get(f"{server.url}/metrics", timeout=REQUEST_S).status_code == 401
