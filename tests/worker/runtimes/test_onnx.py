"""The ONNX runtime: variants answer as their originals do, at every shape, and generate through the same code."""

import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from modelyard.errors import BootFailed, InferenceFailed, ModelRefused
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes import onnx
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.threads import set_threads

BOUND = 0.06
TEXTS = ["the fox", "a wonderful story about a long journey", "Paris is the capital of France and it is sunny today"]
SELDOM = {"bert_ranker", "roberta_token_classifier", "distilbert_qa", "bert_masked_lm", "sentence_transformer"}
"""Families whose variants of 8 bits are made in `make verify` only: each takes ten seconds."""
VERIFIED = pytest.mark.verify(part="variants")


def one_pass(*case: Any) -> Any:
    """A case that begins with its family."""
    return pytest.param(*case, marks=VERIFIED) if case[0] in SELDOM else case


ONE_PASS = [
    one_pass("bert_classifier", "text-classification"),
    one_pass("roberta_token_classifier", "token-classification"),
    one_pass("distilbert_qa", "question-answering"),
    one_pass("bert_masked_lm", "fill-mask"),
    one_pass("sentence_transformer", "sentence-similarity"),
    one_pass("bert_ranker", "text-ranking"),
]


@pytest.fixture(scope="module")
def pair(variant_folder, model_folder):
    """(family, task, kind) → the original and its variant, loaded."""
    loaded = {}

    def both(family, task, kind="onnx.8-bit"):
        if (family, task, kind) not in loaded:
            heads = get_task(task).heads
            loaded[family, task, kind] = (
                load_model("transformers", model_folder(family), heads, device="cpu"),
                load_model("onnx", variant_folder(family, task, kind), heads, device="cpu"),
            )
        return loaded[family, task, kind]

    return both


def encoded(model, texts):
    return dict(model.tokenizer(texts, padding=True, return_tensors="np"))


def error_of(got, wanted, mask=None):
    if mask is not None and got.shape[:2] == mask.shape:
        got, wanted = got[mask], wanted[mask]
    return np.sqrt(np.mean((got - wanted) ** 2)) / wanted.std()


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize(("family", "task"), ONE_PASS)
def test_8_bit_answers_are_the_originals_within_the_bound(pair, family, task):
    original, variant = pair(family, task)
    inputs = encoded(original, TEXTS)
    wanted, got = original.forward(inputs), variant.forward(inputs)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        assert got[name].shape == values.shape
        assert error_of(got[name], values, inputs["attention_mask"].astype(bool)) <= BOUND


@pytest.mark.parametrize(("family", "task"), ONE_PASS)
def test_rows_of_a_batch_are_what_they_are_alone(pair, family, task):
    """8 bits are scaled by all that a batch holds, so both are off by up to the bound, each in its own way."""
    _, variant = pair(family, task)
    together = variant.forward(encoded(variant, TEXTS))
    alone = [variant.forward(encoded(variant, [text])) for text in TEXTS]
    for name, values in together.items():
        own = [one[name] for one in alone]
        same = [values[row, : one.shape[1]] for row, one in enumerate(own)]
        assert error_of(
            np.concatenate([one.ravel() for one in same]), np.concatenate([one.ravel() for one in own])
        ) <= (2 * BOUND)


@pytest.mark.parametrize("run_tokens", [1, 25, 30, 1000])
def test_texts_that_take_several_runs_are_what_they_are_in_one(pair, monkeypatch, run_tokens):
    _, variant = pair("bert_classifier", "text-classification")
    inputs = encoded(variant, TEXTS)
    alone = [variant.forward({name: array[at : at + 1] for name, array in inputs.items()}) for at in range(3)]
    monkeypatch.setattr(onnx, "RUN_TOKENS", run_tokens)
    runs: list[int] = []
    monkeypatch.setattr(variant, "_session", Counted(variant._session, runs))
    split = variant.forward(inputs)
    rows = max(1, min(3, run_tokens // inputs["input_ids"].shape[1]))
    assert runs == [min(rows, 3 - start) for start in range(0, 3, rows)]
    for name, values in split.items():
        wanted = np.concatenate([each[name] for each in alone])
        assert values.shape == wanted.shape
        assert error_of(values, wanted) <= (1e-6 if rows == 1 else BOUND)


class Counted:
    """A session that notes how many rows each run has."""

    def __init__(self, session: Any, runs: list[int]) -> None:
        self._session = session
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, inputs: Any) -> Any:
        self._runs.append(len(inputs["input_ids"]))
        return self._session.run(inputs)


def test_only_texts_alone_are_split() -> None:
    ids, pixels = np.ones((4, 400), np.int64), np.ones((4, 3, 32, 32), np.float32)
    assert [len(part["input_ids"]) for part in onnx.split_rows({"input_ids": ids, "attention_mask": ids})] == [1] * 4
    for whole in ({"input_ids": ids, "pixel_values": pixels}, {"pixel_values": pixels}, {"input_ids": ids[:1]}):
        (part,) = onnx.split_rows(whole)
        assert part is whole


def test_variant_is_described_as_its_original_is(pair):
    original, variant = pair("bert_classifier", "text-classification")
    assert variant.labels == original.labels
    assert variant.max_length == original.max_length
    assert variant.config["model_type"] == "bert"
    assert variant.tokenizer.pad_token == original.tokenizer.pad_token


@pytest.mark.parametrize(
    ("family", "task", "body"),
    [
        one_pass("bert_classifier", "text-classification", {"text": TEXTS[1]}),
        one_pass("roberta_token_classifier", "token-classification", {"text": "Angela lives in Paris"}),
        one_pass("distilbert_qa", "question-answering", {"question": "where?", "context": "Angela lives in Paris"}),
        one_pass("bert_masked_lm", "fill-mask", {"text": "the capital of [MASK] is Paris"}),
        one_pass("sentence_transformer", "sentence-similarity", {"text": "a fox", "sentences": ["a dog", "the river"]}),
        one_pass("sentence_transformer", "feature-extraction", {"text": "a fox"}),
        one_pass("bert_ranker", "text-ranking", {"query": "where?", "documents": TEXTS}),
    ],
)
def test_tasks_run_on_a_variant_as_on_the_original(pair, ask, family, task, body):
    made_for = "sentence-similarity" if task == "feature-extraction" else task
    original, variant = pair(family, made_for)
    wanted, got = ask(get_task(task), original, body), ask(get_task(task), variant, body)
    assert shape_of(got) == shape_of(wanted)
    if task in ("text-classification", "sentence-similarity", "feature-extraction"):
        assert np.allclose(numbers(got), numbers(wanted), atol=0.1)


def shape_of(answer):
    """An answer's structure: keys, lengths of vectors, and types; not how many entities a model finds."""
    if isinstance(answer, dict):
        return {name: shape_of(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [len(answer)] if answer and isinstance(answer[0], float) else list
    return type(answer)


def numbers(answer):
    """Every number in an answer, in order of its label or place."""
    if isinstance(answer, dict):
        return [value for value in answer.values() if isinstance(value, float)]
    if isinstance(answer, list):
        entries = sorted(answer, key=lambda one: one["label"]) if isinstance(answer[0], dict) else answer
        return [number for entry in entries for number in numbers(entry)]
    return [answer]


def test_images_are_told_apart_as_by_the_original(pair):
    original, variant = pair("vit_classifier", "image-classification")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (side, 40, 3), dtype=np.uint8) for side in (30, 50, 64)]
    pixels = dict(variant.processor(images=images, return_tensors="np"))
    assert error_of(variant.forward(pixels)["logits"], original.forward(pixels)["logits"]) <= BOUND


def nothing(_row, _tokens):
    return False


LEFT_PADDED = {
    "input_ids": np.array([[0, 0, 5, 6, 7], [9, 8, 7, 6, 5], [0, 0, 0, 0, 3]]),
    "attention_mask": np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]),
}


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 20},
        {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2},
        {"max_new_tokens": 12, "do_sample": True, "seed": 7, "temperature": 0.8},
        {"max_new_tokens": 9, "repetition_penalty": 1.3},
        {"max_new_tokens": 9, "min_new_tokens": 9, "stop_token_ids": [5]},
    ],
    ids=["greedy", "beams", "seeded", "penalty", "minimum"],
)
def test_generation_is_token_for_token_the_originals(pair, options):
    original, variant = pair("gpt2", "text-generation", "onnx")
    assert variant.generate(LEFT_PADDED, options, nothing) == original.generate(LEFT_PADDED, options, nothing)


def test_left_padded_batch_is_what_each_row_is_alone(pair):
    _, variant = pair("gpt2", "text-generation", "onnx")
    together = variant.generate(LEFT_PADDED, {"max_new_tokens": 10}, nothing)
    for row, answer in enumerate(together):
        kept = LEFT_PADDED["attention_mask"][row].astype(bool)
        alone = {name: array[row : row + 1, kept] for name, array in LEFT_PADDED.items()}
        assert variant.generate(alone, {"max_new_tokens": 10}, nothing) == [answer]


def test_tokens_are_seen_as_they_are_made_and_a_row_can_be_ended(pair):
    _, variant = pair("gpt2", "text-generation", "onnx")
    seen = []

    def two_tokens(row, tokens):
        seen.append((row, *tokens))
        return row == 0 and len([one for one in seen if one[0] == 0]) == 2

    ((first,), (second,), _) = variant.generate(LEFT_PADDED, {"max_new_tokens": 6, "min_new_tokens": 6}, two_tokens)
    assert (len(first.tokens), len(second.tokens)) == (2, 6)
    assert [token for row, token in seen if row == 1] == second.tokens


def test_streamed_text_adds_up_to_the_answer(pair, ask):
    _, variant = pair("gpt2", "text-generation", "onnx")
    pieces = []
    body = {"text": "Once upon", "params": {"max_new_tokens": 12, "do_sample": False}}
    answer = ask(get_task("text-generation"), variant, body, emit=pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == answer


@VERIFIED
def test_chat_runs_on_an_8_bit_variant(pair, ask):
    _, variant = pair("llama_chat", "chat")
    body = {"messages": [{"role": "user", "content": "hi"}], "params": {"max_new_tokens": 8, "do_sample": False}}
    assert ask(get_task("chat"), variant, body) == ask(get_task("chat"), variant, body)
    assert variant.max_length == 256


def test_changed_thread_count_takes_effect_and_changes_no_answer(pair):
    _, variant = pair("bert_classifier", "text-classification")
    inputs = encoded(variant, TEXTS)
    before = variant.forward(inputs)["logits"]
    try:
        set_threads(2)
        after = variant.forward(inputs)["logits"]
        assert variant._session._threads == 2
    finally:
        set_threads(1)
    assert np.allclose(before, after, atol=1e-5)


def test_absent_mask_and_segments_are_what_the_original_assumes(pair):
    _, variant = pair("bert_classifier", "text-classification")
    inputs = encoded(variant, TEXTS[:1])
    ids = {"input_ids": inputs["input_ids"]}
    assert np.allclose(variant.forward(ids)["logits"], variant.forward(inputs)["logits"])


def test_what_was_not_exported_is_refused_in_words(pair):
    _, variant = pair("bert_classifier", "text-classification")
    with pytest.raises(InferenceFailed, match="use the original"):
        variant.forward({}, method="get_image_features")
    with pytest.raises(InferenceFailed, match="does not generate"):
        variant.generate({}, {}, nothing)
    with pytest.raises(InferenceFailed, match="needs input_ids"):
        variant.forward({"pixel_values": np.zeros((1, 3))})


def test_too_long_an_input_fails_with_the_models_own_words(pair):
    _, variant = pair("bert_classifier", "text-classification")
    with pytest.raises(InferenceFailed, match="failed on this input"):
        variant.forward({"input_ids": np.full((1, 65), 5)})


def test_variant_of_another_task_or_on_a_gpu_is_refused(variant_folder):
    folder = variant_folder("bert_classifier", "text-classification", "onnx.8-bit")
    with pytest.raises(ModelRefused, match="exported for sequence-classification"):
        load_model("onnx", folder, ("question-answering",))
    with pytest.raises(BootFailed, match="but ONNX variants run on the CPU only"):
        load_model("onnx", folder, ("sequence-classification",), device="cuda")


@pytest.mark.parametrize(("damaged", "words"), [("variant.json", "make the variant again"), ("model.onnx", "loaded")])
def test_damaged_variant_is_refused(variant_folder, tmp_path, damaged, words):
    folder = tmp_path / "damaged"
    shutil.copytree(variant_folder("bert_classifier", "text-classification", "onnx.8-bit"), folder)
    (folder / damaged).write_bytes(b"{")
    with pytest.raises(ModelRefused, match=words):
        load_model("onnx", folder, ("sequence-classification",))


def test_a_worker_without_torch_holds_every_model_that_answers_in_one_pass(variant_folder):
    """What the nursery without torch forks: neither torch nor a thread in it before a model is loaded."""
    folders = {
        str(variant_folder("bert_classifier", "text-classification", "onnx.8-bit")): "sequence-classification",
        str(variant_folder("vit_classifier", "image-classification", "onnx.8-bit")): "image-classification",
    }
    program = f"""
import os, sys
from modelyard.worker.environment import QUIET_LIBRARIES
import modelyard.worker.nursery
os.environ.update(QUIET_LIBRARIES)
import modelyard.worker.replica, modelyard.worker.runtimes.preload_without_torch
assert len(os.listdir("/proc/self/task")) == 1
from pathlib import Path
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.threads import set_threads
set_threads(2)
for folder, head in {folders!r}.items():
    assert load_model("onnx", Path(folder), (head,)).labels
assert sys.modules["torch"] is None
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
