"""`modelyard bench` against a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from modelyard.cli.http_load import Sample, conclude
from tests.cli.conftest import Inside
from tests.serving import KEY, Server

CLASSIFIER, WRITER = "tiny/classifier", "tiny/gpt2"
BRIEFLY = ("--seconds", "0.2", "--clients", "1,4")


@pytest.fixture
def on_server(inside: Inside, server: Server) -> Iterator[Inside]:
    """A terminal whose commands ask the test server."""
    yield Inside({**inside.environ, "MODELYARD_URL": server.url, "MODELYARD_API_KEY": KEY})
    for model_id in (CLASSIFIER, WRITER):
        server.delete(model_id)


def test_bench_measures_a_model_with_its_tasks_example(on_server: Inside) -> None:
    measured = json.loads(on_server.ok("bench", CLASSIFIER, *BRIEFLY, "--json"))
    assert measured["modelId"] == CLASSIFIER
    assert [each["clients"] for each in measured["figures"]] == [1, 4]
    for figures in measured["figures"]:
        assert figures["requests"] >= figures["clients"]
        assert figures["requests_per_s"] > 0
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["first_p50_ms"] is None


def test_bench_shows_first_pieces_of_streams_and_bars(on_server: Inside) -> None:
    head, *lines = on_server.ok("bench", WRITER, "Once", "-p", "max_new_tokens=3", *BRIEFLY).splitlines()
    assert head.split() == [
        "CLIENTS",
        "REQUESTS/S",
        "P50",
        "MS",
        "P99",
        "MS",
        "FIRST",
        "P50",
        "FIRST",
        "P99",
        "REQUESTS/S",
    ]
    assert [line.split()[0] for line in lines] == ["1", "4"]
    for line in lines:
        *figures, bar = line.split()
        assert all(float(figure) > 0 for figure in figures)
        assert set(bar) == {"█"}


def test_bench_says_that_the_keys_limit_is_in_its_way(on_server: Inside, server: Server) -> None:
    key = server.command("keys", "create", "bench", "--rate-limit", "3")
    said = on_server.problem("bench", CLASSIFIER, "--seconds", "60", "--clients", "1", MODELYARD_API_KEY=key)
    assert "This key may make 3 requests per minute" in said
    assert "modelyard keys create NAME --rate-limit 0" in said


def test_bench_says_what_it_cannot_do(on_server: Inside) -> None:
    assert "--clients: got '0'" in on_server.problem("bench", CLASSIFIER, "--clients", "0")
    assert "--clients: got 'many'" in on_server.problem("bench", CLASSIFIER, "--clients", "many")
    assert "Did you mean tiny/gpt2" in on_server.problem("bench", "tiny/gtp2", "Once")
    assert "the server knows no tiny/gtp2" in on_server.problem("bench", "tiny/gtp2")
    assert "params.top_k: got 'x'" in on_server.problem("bench", CLASSIFIER, "-p", "top_k=x")
    assert "No server answers" in on_server.problem("bench", CLASSIFIER, "--url", "http://127.0.0.1:1")


def test_figures_of_few_requests_are_theirs() -> None:
    alone = conclude(1, [Sample(0.5, None)], 2.0)
    assert (alone.requests_per_s, alone.p50_ms, alone.p99_ms, alone.first_p99_ms) == (0.5, 500.0, 500.0, None)
    many = conclude(4, [Sample(n / 1000, n / 2000) for n in range(1, 101)], 10.0)
    assert (many.requests, many.requests_per_s) == (100, 10.0)
    assert many.p50_ms == pytest.approx(50, abs=1)
    assert many.p99_ms == pytest.approx(99, abs=1)
    assert many.first_p99_ms == pytest.approx(49.5, abs=1)
