"""A task that answers with its text, and the "model" it runs on. Says on demand what a real one says in trouble.

The text is split into words; a stream carries one word per piece. `fail` answers with InferenceFailed, `crash` raises
inside the model. A text that begins with `hold`, and every text while a test holds the answers, waits until its client
has left. Every other field and every param is accepted and ignored.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from modelyard.errors import InferenceFailed, ModelRefused, ModelyardError
from modelyard.tasks.base import Call, Inputs, Params, Task

LOOK_EVERY_S = 0.005


class EchoInputs(Inputs, frozen=True, kw_only=True):
    text: str | None = None


class EchoParams(Params, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Anything goes."""


class EchoModel:
    """`answers`: while clear, calls wait. `abandoned`: set when the replica ends. `seen`: texts in order of start.
    `batches`: how many calls each batch held. `word`: what an adapter adds to every answer, by its config."""

    path = Path("/nowhere")
    config: Mapping[str, Any] = MappingProxyType({})
    labels: Mapping[int, str] = MappingProxyType({})
    tokenizer = None
    max_length = None

    def __init__(self, answers: threading.Event) -> None:
        self.answers = answers
        self.abandoned = threading.Event()
        self.seen: list[str] = []
        self.batches: list[int] = []
        self.cancelled: list[str] = []
        self.word = ""

    def adapted(self, folder: Path) -> EchoModel:
        """The same model with an adapter beside it. Raises ModelRefused for one that was made for another model."""
        config = json.loads((folder / "adapter_config.json").read_text())
        if "peft_version" not in config:
            raise ModelRefused("The adapter was made for another model.")
        model = copy.copy(self)
        model.word = f" by {config['peft_version']}"
        return model

    def forward(self, inputs: Any) -> Any:
        raise NotImplementedError

    def generate(self, inputs: Any, options: Any, on_tokens: Any) -> Any:
        raise NotImplementedError


def run(model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each call, or with the error it asks for."""
    model.batches.append(len(calls))
    model.seen.extend(call.inputs.text or "" for call in calls)
    return [answer(model, call) for call in calls]


def answer(model: EchoModel, call: Call[Any, Any]) -> str | ModelyardError:
    text: str = call.inputs.text or ""
    words = re.findall(r"\s*\S+", text)
    if call.emit is not None and words:
        call.emit(words.pop(0))  # a held stream has started
    while words_hold(text) or not model.answers.is_set():
        model.abandoned.wait(LOOK_EVERY_S)
        if call.cancelled() or model.abandoned.is_set():
            model.cancelled.append(text)
            return InferenceFailed("Cancelled.")
    if text == "fail":
        return InferenceFailed("The model failed, as it was asked to.")
    if text == "crash":
        raise RuntimeError("crashed, as it was asked to")
    if call.emit is not None:
        for word in filter(None, [*words, model.word]):
            call.emit(word)
    return text + model.word


def words_hold(text: str) -> bool:
    return text.startswith("hold")


ECHO = Task(
    id="echo",
    summary="Answer with the text.",
    inputs=EchoInputs,
    params=EchoParams,
    output=str,
    run=run,
    heads=("base",),
    example={"text": "Say it again"},
    streams=True,
    max_batch=8,
)
