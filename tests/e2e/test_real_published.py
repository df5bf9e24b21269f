"""Real models as optimum and transformers.js publish them, in 32 and in 8 bits, say what their originals say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tests.builders.kept import KEPT, keep
from tests.builders.real import MINILM, SMOLLM2, fingerprint, made
from tests.serving import Server

pytestmark = [pytest.mark.verify(part="variants"), pytest.mark.timeout(1200)]

PAIR = ("A man is eating food.", "A man is eating a piece of bread.")
COSINE = 0.7553
"""Of the pair, as the model's documentation prints it."""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
GREEDY = {"max_new_tokens": 24, "do_sample": False}
TASKS = {MINILM: "sentence-similarity", SMOLLM2: "chat"}


def export(model_id: str, target: Path) -> None:
    """Publishes the model in 32 bits and, where that leaves it its answers, by ONNX Runtime's own tool in 8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from tests.builders.fixtures import export as make_variant
    from tests.builders.published import publish

    variant = target.with_name("variant")
    make_variant(made(model_id), model_id.rpartition("/")[2], TASKS[model_id], "onnx", variant)
    publish(variant, target)
    shutil.rmtree(variant)
    if model_id == SMOLLM2:
        return
    graph = target / "onnx" / "model.onnx"
    quantize_dynamic(
        graph, graph.with_name("model_quantized.onnx"), op_types_to_quantize=["MatMul"], per_channel=True,
        weight_type=QuantType.QInt8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves both, which the first who asks on this machine has exported."""
    root = KEPT.with_name("real-published") / f"{fingerprint()}.{version('onnx')}.{version('onnxruntime')}"
    for model_id in TASKS:
        if not (root / model_id).is_dir():
            keep(root / model_id, lambda target, model_id=model_id: export(model_id, target))  # type: ignore[misc]
    with shared_server.with_models(root) as running:
        yield running


@pytest.mark.parametrize(("label", "off"), [("fp32", 0.001), ("q8", 0.02)])
def test_embeddings_have_the_published_cosine(server: Server, label: str, off: float) -> None:
    one, other = (np.array(server.run(f"{MINILM}:{label}", text=text)) for text in PAIR)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(COSINE, abs=off)


def test_a_question_is_answered_whole_and_in_pieces(server: Server) -> None:
    """In 32 bits: all matrices in 8, as the tool makes them, cost this model its answer. Its variant, which keeps some
    in 32, is asked the same in test_real_models."""
    whole = server.run(SMOLLM2, messages=QUESTION, params=GREEDY)
    body = {"messages": QUESTION, "params": GREEDY, "stream": True}
    with server.client.stream("POST", f"/models/v2/{SMOLLM2}", json=body) as response:
        pieces = list(response.iter_text())
    server.delete(SMOLLM2)
    assert (whole["role"], whole["content"]) == ("assistant", ANSWER)
    assert len(pieces) > 1
    assert "".join(pieces) == ANSWER
