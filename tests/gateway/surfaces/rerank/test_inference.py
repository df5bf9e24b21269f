"""Rankings by Cohere's own clients, and scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

cohere = Later("cohere")

MODEL = "tiny/ranker"
QUERY = "a cat"
DOCUMENTS = ["7", "a cat on a mat", "a dog"]


@pytest.fixture(params=["Client", "ClientV2"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Over either version of the API."""
    with httpx.Client(timeout=REQUEST_S) as http:
        yield getattr(cohere, request.param)(api_key=KEY, base_url=server.url, httpx_client=http)


def expected(server: Server) -> list[tuple[int, float]]:
    """What v2 answers to the same."""
    ranked = server.run(MODEL, query=QUERY, documents=DOCUMENTS)
    return [(each["index"], each["score"]) for each in ranked]


def test_a_ranking_is_v2s(server: Server, client: Any) -> None:
    told = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)

    assert [(each.index, each.relevance_score) for each in told.results] == expected(server)
    assert told.meta.billed_units.search_units == 1
    assert told.meta.api_version.version == ("1" if type(client) is cohere.Client else "2")
    assert told.id.startswith("req_")


def test_the_best_alone(server: Server, client: Any) -> None:
    (best,) = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=1).results
    assert (best.index, best.relevance_score) == expected(server)[0]


def test_documents_may_be_objects_and_come_back(server: Server) -> None:
    with httpx.Client(timeout=REQUEST_S) as http:
        client = cohere.Client(api_key=KEY, base_url=server.url, httpx_client=http)
        documents = [{"text": document} for document in DOCUMENTS]
        told = client.rerank(model=MODEL, query=QUERY, documents=documents, return_documents=True)

    for each in told.results:
        assert each.document is not None
        assert each.document.text == DOCUMENTS[each.index]


def test_what_is_wrong_is_a_bad_request_that_names_it(client: Any) -> None:
    for wrong, words in (
        ({"documents": []}, "documents"),
        ({"query": ""}, "query"),
        ({"top_n": 0}, "top_n"),
        ({"model": "tiny/chat"}, "text-ranking"),
    ):
        with pytest.raises(cohere.BadRequestError) as raised:
            client.rerank(**{"model": MODEL, "query": QUERY, "documents": DOCUMENTS, **wrong})
        assert words in raised.value.body["message"]
    with pytest.raises(cohere.NotFoundError):
        client.rerank(model="tiny/nothing", query=QUERY, documents=DOCUMENTS)


def test_a_setting_that_is_not_there_is_refused(server: Server) -> None:
    body = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "max_tokens_per_doc": 10}
    told = server.client.post("/v2/rerank", json=body)

    assert told.status_code == 400
    assert told.json()["message"].startswith("max_tokens_per_doc: got 10")


def test_the_path_without_a_version_ranks_too(server: Server) -> None:
    told = server.client.post("/rerank", json={"model": MODEL, "query": QUERY, "documents": DOCUMENTS}).json()

    assert [(each["index"], each["relevance_score"]) for each in told["results"]] == expected(server)
    assert told["usage"]["total_tokens"] == told["usage"]["prompt_tokens"] > 0


def test_scores_come_in_the_order_of_the_texts(server: Server) -> None:
    scores = dict(expected(server))
    for first in (QUERY, [QUERY]):
        told = server.client.post("/v1/score", json={"model": MODEL, "text_1": first, "text_2": DOCUMENTS}).json()
        assert [each["score"] for each in told["data"]] == [scores[at] for at in range(3)]
    alone = server.client.post("/v1/score", json={"model": MODEL, "text_1": QUERY, "text_2": DOCUMENTS[0]}).json()
    assert alone["data"] == [{"index": 0, "object": "score", "score": pytest.approx(scores[0], abs=1e-5)}]
    wrong = server.client.post("/v1/score", json={"model": MODEL, "text_1": [QUERY, QUERY], "text_2": DOCUMENTS})
    assert (wrong.status_code, "text_1" in wrong.json()["message"]) == (400, True)
