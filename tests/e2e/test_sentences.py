"""Vectors and weights of words over HTTP, on replicas, as sentence-transformers and model2vec make them, which are
installed for this alone. tests/tasks/shared/test_sentence_modules.py has the short forms, by the libraries' formulas.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving import Server

TEXTS = [
    "The weather is lovely today.",
    "no",
    "Once upon a time there was a small fox in the old forest. " * 4,
]
FAMILIES = ("splade", "splade_documents", "static_vectors", "model2vec", "layered_sentences", "sentence_transformer")
PACKAGES = ("sentence-transformers==6.2.0", "model2vec==0.7.0", "scikit-learn", "joblib", "threadpoolctl", "scipy",
            "narwhals", "cloudpickle")  # fmt: skip
ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer, SparseEncoder
answers = {}
for family, folder in json.load(sys.stdin).items():
    texts = TEXTS
    if family == "model2vec":
        vectors = StaticModel.from_pretrained(folder).encode(texts)
    elif family.startswith("splade"):
        encoder = SparseEncoder(folder, device="cpu")
        vectors = encoder.encode(texts, convert_to_sparse_tensor=False).numpy()
        if family == "splade_documents":
            answers["queries"] = encoder.encode_query(texts, convert_to_sparse_tensor=False).numpy().tolist()
    else:
        vectors = SentenceTransformer(folder, device="cpu").encode(texts)
    answers[family] = vectors.tolist()
print(json.dumps(answers))
"""
"""What is asked of the libraries, in a process of its own."""

pytestmark = pytest.mark.verify(part="models")


@pytest.fixture(scope="module")
def server(
    shared_server: Server, model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    (models / "vectors").mkdir()
    for family in FAMILIES:
        (models / "vectors" / family).symlink_to(model_folder(family))
    with shared_server.with_models(models) as running:
        yield running


@pytest.fixture(scope="module")
def expected(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[list[float]]]:
    """Family → the libraries' vectors of TEXTS."""
    packages = tmp_path_factory.mktemp("sentence-packages")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run([*pip, "--target", packages, *PACKAGES], check=True)
    done = subprocess.run(
        [sys.executable, "-c", ASK.replace("TEXTS", repr(TEXTS), 1)],
        input=json.dumps({family: str(model_folder(family)) for family in FAMILIES}),
        env={**os.environ, "PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    vectors: dict[str, list[list[float]]] = json.loads(done.stdout)
    return vectors


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_the_libraries(
    server: Server, expected: dict[str, list[list[float]]], family: str
) -> None:
    params = {"sparse": False} if family.startswith("splade") else {}
    answers = server.run(f"vectors/{family}", text=TEXTS, params=params)
    np.testing.assert_allclose(answers, expected[family], atol=1e-4)


def test_words_are_told_as_clients_of_each_kind_read_them(
    server: Server, expected: dict[str, list[list[float]]]
) -> None:
    def ask(path: str, body: dict[str, Any], status: int = 200) -> Any:
        told = server.client.post(path, json=body)
        assert told.status_code == status, told.text
        return told.json()

    whole = np.array(expected["splade"])
    listed = ask("/hf/vectors/splade/embed_sparse", {"inputs": TEXTS, "truncate": True})
    own = server.run("vectors/splade", text=TEXTS)
    for words, told, vector in zip(listed, own, whole, strict=True):
        assert [word["index"] for word in words] == sorted(word["index"] for word in words)
        assert by_index(words) == pytest.approx(by_index(told), abs=1e-5)
        assert {word["index"] for word in words} == set(np.flatnonzero(vector).tolist())
    (first,) = ask("/hf/vectors/splade/embed_sparse", {"inputs": TEXTS[1]})
    assert by_index(first) == pytest.approx(by_index(listed[1]), abs=1e-5)
    dense = ask("/hf/vectors/splade/embed", {"inputs": TEXTS, "normalize": False, "truncate": True})
    np.testing.assert_allclose(dense, whole, atol=1e-4)
    (embedding,) = ask("/v1/embeddings", {"model": "vectors/splade", "input": TEXTS[0]})["data"]
    np.testing.assert_allclose(embedding["embedding"], whole[0] / np.linalg.norm(whole[0]), atol=1e-4)
    error = ask("/hf/vectors/sentence_transformer/embed_sparse", {"inputs": TEXTS[1]}, 422)
    assert "weighs no words" in error["error"]


def test_queries_are_weighed_as_the_library_does(server: Server, expected: dict[str, list[list[float]]]) -> None:
    answers = server.run("vectors/splade_documents", text=TEXTS, params={"sparse": False, "prompt_name": "query"})
    np.testing.assert_allclose([row[: len(expected["queries"][0])] for row in answers], expected["queries"], atol=1e-4)
    body = {"inputs": TEXTS[0], "prompt_name": "query"}
    told = server.client.post("/hf/vectors/splade_documents/embed_sparse", json=body).json()
    assert by_index(told[0]) == pytest.approx(
        {place: value for place, value in enumerate(expected["queries"][0]) if value}, abs=1e-5
    )


def by_index(words: list[dict[str, Any]]) -> dict[int, float]:
    """The words' weights."""
    return {word["index"]: word["value"] for word in words}
