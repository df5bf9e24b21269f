"""What a peer's worker does with a request, the same for all: the text itself, or a classifier's answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[Sequence[str]], list[Any]]
FOLDER = os.environ.get("BENCH_MODEL", "")
"""Of the model; empty: there is none."""
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
BATCH = int(os.environ.get("BENCH_BATCH", "1"))
PORT = int(os.environ.get("BENCH_PORT", "8000"))


def open_model() -> Run:
    """Loads the model, with one thread."""
    if not FOLDER:
        return list
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER).eval()
    labels = model.config.id2label

    def classify(texts: Sequence[str]) -> list[Any]:
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**inputs).logits.softmax(-1)
        return [[{"label": labels[i], "score": score} for i, score in enumerate(row)] for row in scores.tolist()]

    return classify
