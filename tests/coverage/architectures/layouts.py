"""The library called directly on a page's words and where they are, as its own examples do it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from modelyard.tasks.shared.word_boxes import PAGE

CONTEXT = "Angela lives in Paris and works for the United Nations."
WORD_BOXES = [(word, [10 * at, 20 * at, 10 * at + 9, 20 * at + 15]) for at, word in enumerate(CONTEXT.split())]
TASKS = ("text-classification", "token-classification")
"""Those that are asked about the page instead of a text, of models that read places."""
_AT_ORIGIN = ("lilt", "layoutlmv3")
"""Families whose special tokens are all at the page's origin; others' last one is in its far corner."""


def finds_in_words(task: str, config: Mapping[str, Any]) -> bool:
    """Whether a model finds answers among a page's words, of which the library's pipeline shows it no image."""
    return task == "document-question-answering" and str(config["model_type"]).startswith("layoutlm")


def page_body(body: dict[str, Any]) -> dict[str, Any]:
    """What such a task is asked."""
    return {**{name: value for name, value in body.items() if name != "text"}, "word_boxes": WORD_BOXES}


def encode(model: Any, tokenizer: Any) -> dict[str, Any]:
    """The page as the model reads it: each word's tokens at the word's place."""
    words, boxes = [word for word, _ in WORD_BOXES], [box for _, box in WORD_BOXES]
    if "boxes" in inspect.signature(type(tokenizer).__call__).parameters:
        encoded = dict(tokenizer(words, boxes=boxes, return_tensors="pt"))
        return {name: value for name, value in encoded.items() if name in inspect.signature(model.forward).parameters}
    encoded = dict(tokenizer(CONTEXT, return_tensors="pt"))
    family, ids = model.config.model_type, encoded["input_ids"]
    places = [box for at, (word, box) in enumerate(WORD_BOXES) for _ in tokenizer.tokenize(f"{' ' * (at > 0)}{word}")]
    last = 0 if family in _AT_ORIGIN else PAGE
    bbox = ids.new_tensor([[[0] * 4, *places, [last] * 4]])
    assert bbox.shape[1] == ids.shape[1]
    encoded["bbox"] = bbox / PAGE if family == "bros" else bbox
    return {name: value for name, value in encoded.items() if name in inspect.signature(model.forward).parameters}


def labels(model: Any, tokenizer: Any) -> Any:
    """All labels of the page, best first."""
    scores = model(**encode(model, tokenizer)).logits[0].softmax(-1).tolist()
    found = [{"label": model.config.id2label[at], "score": score} for at, score in enumerate(scores)]
    return sorted(found, key=lambda label: -label["score"])


def tokens(model: Any, tokenizer: Any) -> Any:
    """The label of each token of the page but the first and the last, which are of no word."""
    scores = model(**encode(model, tokenizer)).logits[0].softmax(-1)[1:-1]
    best = [(row.argmax().item(), row.max().item()) for row in scores]
    return [
        {"entity": model.config.id2label[label], "score": score, "index": at}
        for at, (label, score) in enumerate(best, start=1)
    ]


def encode_question(processor: Any, question: str, image: Any) -> Any:
    """A question with the page's words behind it, and the page's image."""
    words, boxes = [word for word, _ in WORD_BOXES], [box for _, box in WORD_BOXES]
    encoded = processor(image, question, text_pair=words, boxes=boxes, return_tensors="pt")
    return {name: value for name, value in encoded.items() if name != "token_type_ids"}
