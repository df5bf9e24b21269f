"""Metrics of a real server: who may read them, and that they agree with what clients saw."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.attacks.test_strangers import add_account
from tests.builders import build
from tests.serving import REQUEST_S, Server, wait_until

MODEL = "tiny/gpt2"
NEW_TOKENS = 8


@pytest.fixture(scope="module")
def server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("metrics")
    build("gpt2", models / MODEL)
    with shared_server.with_models(models) as server:
        yield server


@pytest.fixture(scope="module")
def port(server: Server) -> int:
    return int(server._environ["MODELYARD_METRICS_PORT"])


def samples(text: str) -> dict[str, float]:
    """By name, over all labels; of histograms only the counts."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            if "le" not in each.labels:
                found[each.name] = found.get(each.name, 0.0) + each.value
    return found


def since(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """By how much each figure has grown."""
    return {name: value - before.get(name, 0.0) for name, value in now.items()}


def without_replicas(figures: dict[str, float]) -> dict[str, float] | None:
    """The figures, once those of models that were served before tell of no replica."""
    return figures if figures.get("modelyard_replicas", 0.0) == 0.0 else None


def with_steps(figures: dict[str, float]) -> dict[str, float] | None:
    """The figures, once they tell of each step of two texts: the first token of each comes of its prompt."""
    return figures if figures.get("modelyard_batch_size_sum", 0.0) >= 2 * (NEW_TOKENS - 1) else None


def test_what_clients_asked_for_is_counted(server: Server, port: int) -> None:
    before = wait_until(lambda: without_replicas(samples(server.client.get("/metrics").text)))
    params = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    assert server.post(MODEL, text="the cat", params=params).status_code == 200
    assert server.post(MODEL, text="the cat", params=params, stream=True).status_code == 200
    assert server.post(MODEL, text="the cat", params={"max_new_tokens": -1}).status_code == 422
    own = wait_until(lambda: with_steps(since(before, samples(server.client.get("/metrics").text))))
    assert own["modelyard_requests_total"] == 3
    assert own["modelyard_new_tokens_total"] == 2 * NEW_TOKENS
    assert own["modelyard_first_piece_seconds_count"] == own["modelyard_token_seconds_count"] == 1
    assert own["modelyard_boot_seconds_count"] == own["modelyard_replicas"] == 1
    assert own["modelyard_memory_bytes"] > 0
    assert own["modelyard_batch_size_count"] == own["modelyard_batch_size_sum"] == 2 * (NEW_TOKENS - 1)
    assert own["modelyard_batch_places_total"] > own["modelyard_batch_size_sum"]
    assert own["modelyard_cache_tokens"] > 0
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_S) as prometheus:
        seen = since(before, samples(prometheus.get("/metrics").text))
        assert seen["modelyard_requests_total"] == 3
        vllm = samples(prometheus.get("/metrics", params={"names": "vllm"}).text)
        written = before.get("modelyard_new_tokens_total", 0.0) + 2 * NEW_TOKENS
        assert vllm["vllm:generation_tokens_total"] == written
        assert vllm["vllm:kv_cache_usage_perc"] == 0.0
        assert prometheus.get("/models/v2/list/models").status_code == 404


def test_other_accounts_and_strangers_read_nothing(server: Server) -> None:
    with add_account(server, "ada") as ada:
        refused = ada.get("/metrics")
    assert refused.status_code == 403
    assert "operator" in refused.json()["error"]
    assert httpx.get(f"{server.url}/metrics", timeout=REQUEST_S).status_code == 401
