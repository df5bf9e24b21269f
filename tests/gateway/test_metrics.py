"""What metrics tell of inferences: each counted once, however it ended, under labels that are bounded."""

from __future__ import annotations

import asyncio
import math
import re
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from modelyard.errors import InferenceFailed
from modelyard.gateway.metrics import CLIENT_LEFT, MetricCalls
from modelyard.protocol import Usage
from modelyard.tallies import MOST_LABELS, OTHERS
from tests.control.control_plane import SMALL
from tests.gateway.conftest import Gateway
from tests.gateway.http_client import HttpClient
from tests.gateway.test_inference import failing, never

REQUESTS, TIMES = 400, 20
PART = 0.02
"""Of a request, what counting it may take."""


def requests_of(gateway: Gateway) -> dict[tuple[str, str, int], int]:
    """By surface, model and status."""
    return {
        (surface, model, status): count
        for model, tally in gateway.tallies.models.items()
        for (surface, status), count in tally.requests.items()
    }


async def test_every_inference_is_counted_once_by_how_it_ended(gateway: Gateway) -> None:
    ask = {"text": "hello"}
    await gateway.ask(HttpClient(ask, key=gateway.key))
    await gateway.ask(HttpClient(ask, key=gateway.key))
    await gateway.ask(HttpClient(ask, key="none of ours"))
    await gateway.ask(HttpClient(ask, key=gateway.key), model_id="no/such")
    gateway.destination.answering = failing(InferenceFailed("It broke."))
    await gateway.ask(HttpClient(ask, key=gateway.key))
    assert requests_of(gateway) == {
        ("v2", SMALL, 200): 2, ("v2", "", 401): 1, ("v2", "", 404): 1, ("v2", SMALL, 500): 1,
    }  # fmt: skip


async def test_a_client_that_left_is_counted_as_such(gateway: Gateway) -> None:
    gateway.destination.answering = never
    client = HttpClient({"text": "hello"}, key=gateway.key)
    asking = asyncio.ensure_future(gateway.ask(client))
    while not gateway.destination.requests:
        await asyncio.sleep(0)
    client.left.set()
    await asking
    assert requests_of(gateway) == {("v2", SMALL, CLIENT_LEFT): 1}


async def test_a_streams_times_are_told_apart(gateway: Gateway) -> None:
    usage = Usage(prompt_tokens=7, new_tokens=5, first_piece_us=300_000, took_us=700_000, queued_us=200_000)
    gateway.tallies.note("v2", SMALL, 200, 1.0, usage)
    tally = dict(gateway.tallies.models.items())[SMALL]
    assert (tally.prompt_tokens, tally.new_tokens) == (7, 5)
    assert (tally.queued.total, tally.first.total) == pytest.approx((0.2, 0.5))
    assert tally.token.total == pytest.approx(0.1)


@pytest.mark.parametrize("names", ["modelyard", "vllm"])
async def test_the_page_holds_what_was_counted_in_the_format_of_prometheus(gateway: Gateway, names: str) -> None:
    await gateway.control.put()
    await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    families = {each.name: each for each in await read_page(gateway, names)}
    if names == "vllm":
        samples = families["vllm:request_success"].samples
        assert [(each.labels, each.value) for each in samples] == [({"model_name": SMALL}, 1.0)]
        assert "vllm:num_requests_waiting" in families
        return
    samples = families["modelyard_requests"].samples
    assert [(each.labels, each.value) for each in samples] == [
        ({"surface": "v2", "model": SMALL, "status": "200"}, 1.0)
    ]
    buckets = [each for each in families["modelyard_request_seconds"].samples if each.labels.get("le") == "+Inf"]
    assert [each.value for each in buckets] == [1.0]
    memory = {each.labels["kind"]: each.value for each in families["modelyard_memory_bytes"].samples}
    assert 0 <= memory["held"] <= memory["reserved"] <= memory["budget"]


async def test_counting_takes_little_of_a_request(gateway: Gateway) -> None:
    """Of what the gateway does for one, but for sockets and frames; the least of each."""

    async def ask() -> None:
        await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))

    whole, counting = math.inf, math.inf
    for _ in range(REQUESTS):
        begun_ns = time.process_time_ns()
        await ask()
        whole = min(whole, time.process_time_ns() - begun_ns)
    for _ in range(REQUESTS // TIMES):
        begun_ns = time.process_time_ns()
        for _ in range(TIMES):
            gateway.tallies.note("v2", SMALL, 200, 0.001, Usage(took_us=300, queued_us=12))
        counting = min(counting, (time.process_time_ns() - begun_ns) / TIMES)
    assert counting <= PART * whole, (counting, whole)


async def test_models_beyond_the_first_share_a_label(gateway: Gateway) -> None:
    for number in range(MOST_LABELS + 50):
        gateway.tallies.note("v2", f"some/model-{number}", 200, 0.01, Usage())
    samples = next(each for each in await read_page(gateway) if each.name == "modelyard_requests").samples
    assert len(samples) == MOST_LABELS + 1
    assert {each.labels["model"]: each.value for each in samples}[OTHERS] == 50


async def test_other_names_than_there_are_get_a_sentence(gateway: Gateway) -> None:
    answer = await ask_page(gateway, "ours")
    assert answer.status_code == 422
    assert "modelyard or vllm" in answer.text


async def test_the_reference_tells_of_every_metric_and_of_no_other(gateway: Gateway) -> None:
    text = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text("utf-8")
    listed = set(re.findall(r"`((?:modelyard_|vllm:)\w+)`", text))
    there = {name_of(each) for names in ("modelyard", "vllm") for each in await read_page(gateway, names)}
    assert listed == there


def name_of(family: Metric) -> str:
    """A family's name as its samples have it."""
    ending = {"counter": "_total"}.get(family.type, "")
    return family.name + ending


async def read_page(gateway: Gateway, names: str = "modelyard") -> list[Metric]:
    """The page's families, read by the client library's own parser."""
    answer = await ask_page(gateway, names)
    assert answer.status_code == 200, answer.text
    return list(text_string_to_metric_families(answer.text))


async def ask_page(gateway: Gateway, names: str) -> httpx.Response:
    app = MetricCalls(gateway.tallies, gateway.control.plane, "").app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.get("/metrics", params={"names": names})
