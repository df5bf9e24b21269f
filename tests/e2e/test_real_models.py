"""Models that people have, with their trained weights: what they answer is what their authors say they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.real import MINILM, SMOLLM2, smollm2
from tests.gateway.surfaces.openai.tool_sets import check_calls
from tests.later import Later
from tests.peaks import total_bytes
from tests.serving import KEY, REQUEST_S, Server, wait_until

openai = Later("openai")

PAIR = ("A man is eating food.", "A man is eating a piece of bread.")
COSINE = 0.7553
"""Of the pair, as the model's documentation prints it."""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
GREEDY = {"max_new_tokens": 24, "do_sample": False}
JOB_S = 500.0


@pytest.fixture(scope="module")
def real_server(real_models: Path, shared_server: Server) -> Iterator[Server]:
    """Serves MiniLM, and SmolLM2 as soon as a test has it made."""
    (real_models / SMOLLM2).parent.mkdir(exist_ok=True)
    with shared_server.with_models(real_models) as running:
        yield running


def test_embeddings_have_the_published_cosine(real_server: Server) -> None:
    one, other = (np.array(real_server.run(MINILM, text=text)) for text in PAIR)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(COSINE, abs=0.001)


@pytest.mark.verify(part="variants")
def test_a_question_is_answered_whole_and_in_pieces(real_server: Server) -> None:
    """The short form is in test_gguf: the same model in 4 bits, and the same answer."""
    smollm2()
    assert answers(real_server, SMOLLM2) == (ANSWER, ANSWER)


@pytest.mark.verify(part="models")
def test_demanded_calls_fit_drawn_functions(real_server: Server) -> None:
    """One call to a request; several, and of many more sets, in test_gguf, by the same weights in 4 bits."""
    smollm2()
    url = f"{real_server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        for seed in range(10):
            check_calls(client, SMOLLM2, seed, temperature=0, parallel_tool_calls=False)


def answers(server: Server, model_id: str) -> tuple[str, str]:
    """What it says to the question: at once, and streamed in more than one piece."""
    whole = server.run(model_id, messages=QUESTION, params=GREEDY)
    assert whole["role"] == "assistant"
    body = {"messages": QUESTION, "params": GREEDY, "stream": True}
    with server.client.stream("POST", f"/models/v2/{model_id}", json=body) as response:
        pieces = list(response.iter_text())
    assert len(pieces) > 1
    return whole["content"], "".join(pieces)


def measure(server: Server, model_id: str) -> None:
    """Asks for it to be made available, and waits until it is."""
    assert server.client.post(f"/models/v2/request/{model_id}").status_code == 200
    path = f"/models/v2/request/{model_id}"
    job = wait_until(lambda: over(server.client.get(path).json()["output"]), JOB_S, every_s=0.1)
    assert (job["status"], job["message"]) == ("done", "Model available")


def over(job: dict[str, Any]) -> dict[str, Any] | None:
    """The job, once it is over."""
    return job if job["endTime"] else None


def listed(server: Server, model_id: str) -> dict[str, Any]:
    """The model's line in the catalogue."""
    (card,) = server.client.get("/models/v2/list/models", params={"modelId": model_id}).json()["output"]
    return dict(card)


@pytest.mark.parametrize("model_id", [MINILM, pytest.param(SMOLLM2, marks=pytest.mark.verify(part="variants"))])
def test_a_job_measures_it(real_server: Server, model_id: str) -> None:
    if model_id == SMOLLM2:
        smollm2()
    measure(real_server, model_id)
    card = listed(real_server, model_id)
    assert (card["benchmarked"], card["memorySource"]) == (True, "measured")
    assert card["benchmark"]["requestsPerSecond"] > 0
    assert card["benchmark"]["streams"] is (model_id == SMOLLM2)


def held_bytes(server: Server, model_id: str) -> int:
    """What a replica holds that has answered the question, its mapped files included."""
    answers(server, model_id)
    held = total_bytes([server.worker_pid()])
    server.delete(model_id)
    return held


@pytest.mark.verify(part="variants")
@pytest.mark.timeout(1200)
def test_8_bit_variants_are_made_within_their_bounds_and_answer_as_the_originals(real_server: Server) -> None:
    smollm2()
    client = real_server.client
    for model_id in (MINILM, SMOLLM2):
        variant = f"{model_id}.onnx.8-bit"
        assert client.post("/model/job", json={"model": variant}).json()["success"] is True
        measure(real_server, variant)
        assert client.post("/model/job", json={"model": variant}).json()["message"] == "Model available"

    small = listed(real_server, f"{MINILM}.onnx.8-bit")
    assert small["quality"]["cosine_mean"] >= 0.99
    assert small["quality"]["cosine_worst"] >= 0.97
    for text in PAIR:
        one, other = (np.array(real_server.run(name, text=text)) for name in (MINILM, f"{MINILM}.onnx.8-bit"))
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) >= 0.97

    for model_id in (MINILM, f"{MINILM}.onnx.8-bit", SMOLLM2):
        real_server.delete(model_id)
    small = listed(real_server, f"{SMOLLM2}.onnx.8-bit")
    assert small["quality"]["perplexity_increase"] <= 0.03
    assert small["benchmark"]["streams"] is True
    assert answers(real_server, f"{SMOLLM2}.onnx.8-bit") == (ANSWER, ANSWER)
    real_server.delete(f"{SMOLLM2}.onnx.8-bit")
    assert held_bytes(real_server, f"{SMOLLM2}.onnx.8-bit") <= 0.55 * held_bytes(real_server, SMOLLM2)
