"""What is said at paths that are none of ours, by themselves and over HTTP."""

from __future__ import annotations

import pytest

from modelyard.gateway.wrong_paths import describe_nothing
from tests.serving import Server

PATHS = {"/v1/chat/completions", "/v1/models", "/models/v2/list/models"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/chat/completions", "Did you mean /v1/chat/completions?"),
        ("/v1/v1/models", "Did you mean /v1/models?"),
        ("/models/v2/gpt2", "a model is at /models/v2/org/name"),
        ("/v2/org/name", "a model is at /models/v2/org/name"),
        ("/models/org/name", "a model is at /models/v2/org/name"),
        ("/v2/list/models", "Did you mean /models/v2/list/models?"),
        ("/elsewhere", "There is nothing at /elsewhere. See /docs"),
    ],
)
def test_what_was_probably_meant_is_named(path: str, said: str) -> None:
    assert said in describe_nothing(path, PATHS)


def test_an_inference_that_is_not_posted_is_told_how(server: Server) -> None:
    refused = server.client.get("/v1/chat/completions")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json()["error"] == "GET is not possible at /v1/chat/completions; possible: POST."
    assert "Did you mean /v1/embeddings?" in server.client.post("/embeddings", json={}).json()["error"]
