"""Every method of Hugging Face's `InferenceClient` that its own provider offers for our tasks, on a model of each."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from PIL import Image

from modelyard.tasks.registry import get_task
from tests.serving import KEY, REQUEST_S, Server

Answer = Callable[[InferenceClient], Any]


def media(task: str) -> bytes:
    """The image or sound of the task's example."""
    example = get_task(task).example
    text = next(str(example[name]) for name in ("base64", "image_url", "audio_url", "url") if name in example)
    return base64.b64decode(text.rpartition(",")[2])


def v2(server: Server, task: str, **body: Any) -> Any:
    """What v2 answers."""
    return server.run(f"tasks/{task}", **body)


def b64(task: str) -> str:
    return base64.b64encode(media(task)).decode()


def pairs(elements: Any) -> list[tuple[str, float]]:
    return [(each.label, each.score) for each in elements]


def labelled(rows: Any) -> list[tuple[str, float]]:
    return [(each["label"], each["score"]) for each in rows]


@pytest.fixture
def client(dev_server: Server) -> Callable[[str], InferenceClient]:
    """The client of a task's model."""
    return lambda task: InferenceClient(model=f"{dev_server.url}/hf/tasks/{task}", token=KEY, timeout=REQUEST_S)


Clients = Callable[[str], InferenceClient]


def test_texts_are_classified(dev_server: Server, client: Clients) -> None:
    labels = client("text-classification").text_classification("a cat")
    assert pairs(labels) == labelled(v2(dev_server, "text-classification", text="a cat"))

    found = client("token-classification").token_classification("a cat", aggregation_strategy="none")
    assert [each.word for each in found] == [
        each["word"]
        for each in v2(dev_server, "token-classification", text="a cat", params={"aggregation_strategy": "none"})
    ]

    zero = client("zero-shot-classification").zero_shot_classification("a cat", ["animal", "car"], multi_label=True)
    told = v2(dev_server, "zero-shot-classification", text="a cat", candidate_labels=["animal", "car"],
              params={"multi_label": True})  # fmt: skip
    assert pairs(zero) == list(zip(told["labels"], told["scores"], strict=True))


def test_texts_are_filled_answered_and_rewritten(dev_server: Server, client: Clients) -> None:
    text = get_task("fill-mask").example["text"]
    filled = client("fill-mask").fill_mask(text, top_k=2)
    assert [each.sequence for each in filled] == [
        each["sequence"] for each in v2(dev_server, "fill-mask", text=text, params={"top_k": 2})
    ]

    answer = client("question-answering").question_answering(question="who?", context="the cat sat")
    assert not isinstance(answer, list)
    assert answer.answer == v2(dev_server, "question-answering", question="who?", context="the cat sat")["answer"]

    greedy = {"max_new_tokens": 8, "do_sample": False}
    summary = client("summarization").summarization("the cat sat", generate_parameters=greedy)
    assert summary.summary_text == v2(dev_server, "summarization", text="the cat sat", params=greedy)

    example = get_task("translation").example
    languages = {name: value for name, value in example.get("params", {}).items() if name in ("src_lang", "tgt_lang")}
    translated = client("translation").translation(example["text"], **languages, generate_parameters=greedy)
    told = v2(dev_server, "translation", text=example["text"], params={**languages, **greedy})
    assert translated.translation_text == told


def test_texts_become_vectors(dev_server: Server, client: Clients) -> None:
    vector = client("feature-extraction").feature_extraction("a cat")
    assert np.allclose(vector, v2(dev_server, "feature-extraction", text="a cat"), atol=1e-6)
    similar = client("sentence-similarity").sentence_similarity("a cat", other_sentences=["a dog", "a cat"])
    assert similar == v2(dev_server, "sentence-similarity", text="a cat", sentences=["a dog", "a cat"])


def test_images_are_read(dev_server: Server, client: Clients) -> None:
    for task in ("image-classification", "object-detection", "image-segmentation"):
        for params in ({}, {"threshold": 0.0} if task != "image-classification" else {"top_k": 2}):
            method = getattr(client(task), task.replace("-", "_"))
            found = method(media(task), **params)
            told = v2(dev_server, task, base64=b64(task), params=params)
            assert [each.label for each in found] == [each["label"] for each in told], task
    zero = client("zero-shot-image-classification").zero_shot_image_classification(
        media("zero-shot-image-classification"), ["cat", "car"]
    )
    told = v2(dev_server, "zero-shot-image-classification", base64=b64("zero-shot-image-classification"),
              candidate_labels=["cat", "car"])  # fmt: skip
    assert pairs(zero) == labelled(told)


def test_images_are_told_and_asked_about(dev_server: Server, client: Clients) -> None:
    told = v2(dev_server, "image-to-text", base64=b64("image-to-text"))
    assert client("image-to-text").image_to_text(media("image-to-text")).generated_text == told

    answers = client("visual-question-answering").visual_question_answering(
        media("visual-question-answering"), "what is it?"
    )
    told = v2(dev_server, "visual-question-answering", base64=b64("visual-question-answering"), question="what is it?")
    assert [each.answer for each in answers] == [each["answer"] for each in told]

    example = get_task("document-question-answering").example
    words = {"word_boxes": example["word_boxes"]} if "word_boxes" in example else {}
    document = client("document-question-answering").document_question_answering(
        media("document-question-answering"), "who?", **words
    )
    told = v2(dev_server, "document-question-answering", base64=b64("document-question-answering"), question="who?",
              **words)  # fmt: skip
    assert [each.answer for each in document] == [each["answer"] for each in told]


def test_sounds_are_read(dev_server: Server, client: Clients) -> None:
    labels = client("audio-classification").audio_classification(media("audio-classification"))
    assert pairs(labels) == labelled(v2(dev_server, "audio-classification", base64=b64("audio-classification")))
    task = "automatic-speech-recognition"
    assert client(task).automatic_speech_recognition(media(task)).text == v2(dev_server, task, base64=b64(task))


def test_images_and_sounds_are_made(dev_server: Server, client: Clients) -> None:
    made = client("text-to-image").text_to_image("a cat", num_inference_steps=1, height=32, width=32, seed=1)
    assert made.size == (32, 32)
    changed = client("image-to-image").image_to_image(media("image-to-image"), "a dog", num_inference_steps=4)
    assert isinstance(changed, Image.Image)
    with warnings.catch_warnings():
        sound = client("text-to-speech").text_to_speech("hello")
    assert sound[:4] == b"RIFF"
    assert Image.open(io.BytesIO(media("image-to-image"))).mode
