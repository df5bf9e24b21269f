"""The next model that a request names is asked when one cannot answer, on every surface that has a place for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import Server

MESSAGES = [{"role": "user", "content": "hello"}]
QUERY, DOCUMENTS = "a cat", ["a cat on a mat", "a dog"]
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("/models/v2/{model}", "chat", {"messages": MESSAGES, "params": {"max_new_tokens": 4}}),
    ("/v1/chat/completions", "chat", {"messages": MESSAGES, "max_tokens": 4}),
    ("/v1/responses", "chat", {"input": "hello", "max_output_tokens": 16}),
    ("/v1/messages", "chat", {"messages": MESSAGES, "max_tokens": 4}),
    ("/hf/{model}/v1/chat/completions", "chat", {"messages": MESSAGES, "max_tokens": 4}),
    ("/hf/{model}", "chat", {"inputs": MESSAGES, "parameters": {"max_new_tokens": 4}}),
    ("/hf/{model}/generate", "chat", {"inputs": "hello", "parameters": {"max_new_tokens": 4}}),
    ("/v1/embeddings", "sentences", {"input": "hello"}),
    ("/v1/moderations", "classifier", {"input": "hello"}),
    ("/v2/rerank", "ranker", {"query": QUERY, "documents": DOCUMENTS}),
    ("/v1/score", "ranker", {"text_1": QUERY, "text_2": DOCUMENTS}),
]
"""Where, of which model, and what."""


@pytest.fixture(scope="module")
def switched_off(server: Server) -> Iterator[dict[str, str]]:
    """Models whose clusters are off, by the name of the one that does the same and can answer."""
    found = {name: f"off/{name}" for name in sorted({name for _, name, _ in ASKED})}
    for name, model_id in found.items():
        (server.models_dir / model_id).parent.mkdir(exist_ok=True)
        shutil.copytree(server.models_dir / "tiny" / name, server.models_dir / model_id)
        server.put(model_id, capacity={"min": 0, "desired": 0, "max": 1})
        server.client.patch(f"/models/v2/{model_id}", json={"status": "off"})
    yield found
    for model_id in found.values():
        server.delete(model_id)
    shutil.rmtree(server.models_dir / "off")


@pytest.mark.parametrize(("path", "name", "body"), ASKED, ids=lambda each: each if isinstance(each, str) else "")
def test_the_next_model_answers(
    server: Server, switched_off: dict[str, str], path: str, name: str, body: dict[str, Any]
) -> None:
    model, spare = switched_off[name], f"tiny/{name}"
    given = body if path.startswith("/models/v2/") else {"model": model, **body}
    url = path.format(model=model)

    alone = server.client.post(url, json=given)
    answered = server.client.post(url, json={**given, "models": [spare]})
    wrong = server.client.post(url, json={**given, "models": spare})

    assert alone.status_code in (503, 529), alone.text
    assert answered.status_code == 200, answered.text
    assert answered.headers["inference-model"] == spare
    assert wrong.status_code in (400, 422)
    assert "models: got" in wrong.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 4}),
        ("/v1/responses", {"input": "hello", "max_output_tokens": 16}),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 4}),
    ],
)
def test_a_stream_begins_once_and_with_the_model_that_answers(
    server: Server, switched_off: dict[str, str], path: str, body: dict[str, Any]
) -> None:
    given = {"model": switched_off["chat"], **body, "models": ["tiny/chat"], "stream": True}
    answered = server.client.post(path, json=given)
    direct = server.client.post(path, json={**given, "model": "tiny/chat", "models": None})

    assert answered.status_code == 200, answered.text
    assert answered.headers["inference-model"] == "tiny/chat"
    kinds = [line for line in answered.text.splitlines() if line.startswith(("event:", "data: [DONE]"))]
    assert kinds == [line for line in direct.text.splitlines() if line.startswith(("event:", "data: [DONE]"))]
