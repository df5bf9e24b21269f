"""A GGUF model over HTTP: named with its quantisation or without, answered and streamed, listed, refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import real
from tests.builders.gguf import LLAMA, gguf_file
from tests.gateway.surfaces.openai.tool_sets import check_calls
from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

openai = Later("openai")

SMOLLM2 = "someone/SmolLM2-135M-Instruct-GGUF"
QUESTION = {"text": "What is the capital of France? Answer in one sentence."}
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the real model in 4 bits, a tiny one beside it, and a file that is none."""
    models = tmp_path_factory.mktemp("models")
    folder = models / SMOLLM2
    folder.mkdir(parents=True)
    shutil.copy(real.smollm2_gguf(), folder)
    (folder / "SmolLM2-135M-Instruct.Q8_0.gguf").write_bytes(gguf_file(LLAMA)[:300])
    with shared_server.with_models(models) as running:
        yield running


def post(server: Server, model_id: str, body: dict[str, Any]) -> Any:
    return server.client.post(f"/models/v2/{model_id}", json=body, timeout=120.0)


@pytest.mark.parametrize("model_id", [SMOLLM2, f"{SMOLLM2}:q4_1"])
def test_it_is_answered_by_its_name_with_its_quantisation_or_without(server: Server, model_id: str) -> None:
    response = post(server, model_id, QUESTION)

    assert response.status_code == 200, response.text
    assert response.json()["output"] == {"role": "assistant", "content": ANSWER}


def test_a_label_in_capitals_and_in_small_letters_is_one_cluster(server: Server) -> None:
    assert post(server, f"{SMOLLM2}:q4_1", QUESTION).status_code == 200
    assert server.client.get(f"/models/v2/{SMOLLM2}:Q4_1").status_code == 200
    clusters = server.client.get("/models/v2/list/clusters").json()["output"]
    named = [each["modelId"] for each in clusters if each["modelId"].startswith(f"{SMOLLM2}:")]
    assert named == [f"{SMOLLM2}:Q4_1"]


def test_a_stream_is_what_is_answered(server: Server) -> None:
    response = post(server, SMOLLM2, {**QUESTION, "stream": True})

    assert response.text == ANSWER


def test_too_long_a_prompt_is_refused_with_the_figures(server: Server) -> None:
    response = post(server, SMOLLM2, {"text": "hello world " * 3000})

    assert response.status_code == 422
    assert "accepted: fewer than 4096" in response.json()["error"]


def test_a_quantisation_that_is_not_there_is_unknown(server: Server) -> None:
    response = post(server, f"{SMOLLM2}:Q2_K", QUESTION)

    assert response.status_code == 404
    assert f"{SMOLLM2} has no file Q2_K; there are Q4_1, Q8_0." in response.json()["error"]


def test_a_damaged_file_is_refused_before_anything_is_booted(server: Server) -> None:
    response = post(server, f"{SMOLLM2}:Q8_0", QUESTION)

    assert response.status_code == 422
    assert "is cut off" in response.json()["error"]


def test_it_is_listed_with_what_its_header_says(server: Server) -> None:
    (listed,) = server.client.get("/models/v2/list/models", params={"modelId": SMOLLM2}).json()["output"]

    assert listed["task"] == "chat"
    assert listed["params"] == 0.134515
    assert listed["files"] == ["Q4_1", "Q8_0"]
    assert listed["ramRequired"] < 0.4


@pytest.mark.verify(part="models")
def test_demanded_calls_fit_fifty_drawn_sets_of_functions(server: Server) -> None:
    """The short form is in tests/gateway/surfaces/openai/test_tools.py."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        for seed in range(50):
            check_calls(client, SMOLLM2, seed, temperature=0)
