"""What a peer's worker does with texts, the same for all: the texts themselves, a classifier's answers, or how a model
goes on with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import Any

Run = Callable[[Sequence[str]], list[Any]]
TASK = os.environ.get("BENCH_TASK", "echo")
FOLDER = os.environ.get("BENCH_MODEL", "")
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
THREADS = int(os.environ.get("BENCH_THREADS", "1"))
BATCH = int(os.environ.get("BENCH_BATCH", "1"))
NEW_TOKENS = int(os.environ.get("BENCH_NEW_TOKENS", "32"))
PORT = int(os.environ.get("BENCH_PORT", "8000"))


def open_model() -> Run:
    """Loads the model."""
    if TASK == "echo":
        return list
    return open_classifier() if TASK == "text-classification" else Writer().write


def open_classifier() -> Run:
    """Answers each text with its labels and scores."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(THREADS)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER).eval()
    labels = model.config.id2label

    def classify(texts: Sequence[str]) -> list[Any]:
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**inputs).logits.softmax(-1)
        return [[{"label": labels[i], "score": score} for i, score in enumerate(row)] for row in scores.tolist()]

    return classify


class Writer:
    """A model that goes on with texts, greedily, by so many tokens each."""

    def __init__(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(THREADS)
        self._tokenizer = AutoTokenizer.from_pretrained(FOLDER)
        self._tokenizer.pad_token, self._tokenizer.padding_side = self._tokenizer.eos_token, "left"
        self._model = AutoModelForCausalLM.from_pretrained(FOLDER).eval()
        self._settings = {
            "max_new_tokens": NEW_TOKENS,
            "min_new_tokens": NEW_TOKENS,
            "do_sample": False,
            "pad_token_id": 0,
        }

    def write(self, texts: Sequence[str]) -> list[str]:
        """Each text with what follows it, all in one batch."""
        ids = self._model.generate(**self._read(texts), **self._settings)
        return list(self._tokenizer.batch_decode(ids, skip_special_tokens=True))

    def stream(self, text: str) -> Iterator[str]:
        """What follows one text, as it is made."""
        from transformers import TextIteratorStreamer

        pieces = TextIteratorStreamer(self._tokenizer, skip_prompt=True)
        settings = {**self._read([text]), **self._settings, "streamer": pieces}
        thread = Thread(target=self._model.generate, kwargs=settings)
        thread.start()
        yield from pieces
        thread.join()

    def _read(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(list(texts), padding=True, return_tensors="pt")
