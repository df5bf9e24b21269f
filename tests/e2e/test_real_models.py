"""Models that people have, with their trained weights: what they answer is what their authors say they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.builders.real import MINILM, SMOLLM2
from tests.serving import Server, wait_until

PAIR = ("A man is eating food.", "A man is eating a piece of bread.")
COSINE = 0.7553
"""Of the pair, as the model's documentation prints it."""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
GREEDY = {"max_new_tokens": 24, "do_sample": False}
JOB_S = 200.0


@pytest.fixture(scope="module")
def real_server(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves both."""
    with Server(tmp_path_factory.mktemp("real-server"), real_models, "--job-benchmark-s", "1") as running:
        yield running


def test_embeddings_have_the_published_cosine(real_server: Server) -> None:
    one, other = (np.array(real_server.run(MINILM, text=text)) for text in PAIR)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(COSINE, abs=0.001)


def test_a_question_is_answered_whole_and_in_pieces(real_server: Server) -> None:
    whole = real_server.run(SMOLLM2, messages=QUESTION, params=GREEDY)
    body = {"messages": QUESTION, "params": GREEDY, "stream": True}
    with real_server.client.stream("POST", f"/models/v2/{SMOLLM2}", json=body) as response:
        pieces = list(response.iter_text())
    assert whole == {"role": "assistant", "content": ANSWER}
    assert "".join(pieces) == ANSWER
    assert len(pieces) > 1


@pytest.mark.parametrize("model_id", [MINILM, pytest.param(SMOLLM2, marks=pytest.mark.verify(part="variants"))])
def test_a_job_measures_it(real_server: Server, model_id: str) -> None:
    client = real_server.client
    assert client.post(f"/models/v2/request/{model_id}").json()["output"] == "Job queued"
    wait_until(lambda: client.get(f"/models/v2/request/{model_id}").json()["output"]["endTime"], JOB_S, every_s=0.1)
    (card,) = client.get("/models/v2/list/models", params={"modelId": model_id}).json()["output"]
    assert (card["benchmarked"], card["memorySource"]) == (True, "measured")
    assert card["benchmark"]["requestsPerSecond"] > 0
    assert card["benchmark"]["streams"] is (model_id == SMOLLM2)
