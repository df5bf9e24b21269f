"""What a GGUF model thinks, says and calls is what the same model on torch does, marks of special tokens included."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from modelyard.protocol import Outcome, Thought
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model, TextModel
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model as load_transformers
from modelyard.worker.schedulers.slots import Slots
from tests.builders.scripted import build_scripted
from tests.builders.scripted_gguf import write_scripted
from tests.tasks.test_chat_thinking import FAMILIES
from tests.tasks.test_chat_tools import FAMILIES as CALLING
from tests.tasks.test_chat_tools import TOOLS
from tests.worker.runtimes.gguf_models import load_kept

TASK = get_task("chat")
DEADLINE_S = 120.0
SCHEMA = {"type": "object", "properties": {"n": {"enum": [3, 4]}}, "required": ["n"], "additionalProperties": False}


class Both:
    """One scripted model on both runtimes."""

    def __init__(self, folder: Path, pieces: list[str], special: list[str], mark: str, *, opens: bool = False) -> None:
        build_scripted(folder, pieces, special, mark, opens=opens)
        self._torch = cast(Model, load_transformers("transformers", folder, ("causal-lm",), device="cpu"))
        model = load_kept(write_scripted(folder, folder / "model.gguf"), context_tokens=256)
        assert TASK.generation is not None
        self._slots = Slots(TASK, TASK.generation, cast(TextModel, model))
        self._thread = threading.Thread(target=self._slots.run)
        self._thread.start()

    def close(self) -> None:
        self._slots.close()
        self._thread.join()

    def ask(self, **more: Any) -> tuple[Outcome, Outcome, list[str]]:
        """What each answers, and the pieces of llama.cpp's."""
        inference = read(TASK, {"messages": [{"role": "user", "content": "two and two?"}], **more})
        (on_torch,) = TASK.run(self._torch, [to_call(TASK, inference.fields, inference.params)])
        pieces: list[str] = []
        answers: list[Any] = []
        told = threading.Event()

        def deliver(answer: Any) -> None:
            answers.append(answer)
            told.set()

        self._slots.submit(to_call(TASK, inference.fields, inference.params, emit=pieces.append), deliver)
        assert told.wait(DEADLINE_S)
        return on_torch, answers[0], pieces


@pytest.fixture(scope="module", params=[*FAMILIES, "opened"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    opens = request.param == "opened"
    pieces, special, mark = FAMILIES["think" if opens else request.param]
    models = Both(tmp_path_factory.mktemp("both"), pieces[1:] if opens else pieces, special, mark, opens=opens)
    yield models
    models.close()


@pytest.mark.parametrize("form", [{}, {"json_schema": SCHEMA}, {"regex": "[a-f]{4}"}])
def test_both_runtimes_think_and_answer_alike(both: Both, form: dict[str, Any]) -> None:
    on_torch, on_gguf, pieces = both.ask(params={"max_new_tokens": 40, "temperature": 0, **form})
    assert on_gguf.output == on_torch.output
    assert on_gguf.output.reasoning_content == "Two and two"
    assert on_gguf.usage.reasoning_tokens == on_torch.usage.reasoning_tokens
    assert "".join(each for each in pieces if isinstance(each, Thought)) == "Two and two"
    assert "".join(each for each in pieces if not isinstance(each, Thought)) == on_gguf.output.content


def test_calls_between_special_tokens_are_read_on_both(tmp_path: Path) -> None:
    models = Both(tmp_path, *CALLING["mistral"])
    try:
        answers = models.ask(tools=TOOLS, params={"max_new_tokens": 40, "temperature": 0})[:2]
    finally:
        models.close()
    for answer in answers:
        said = msgspec.to_builtins(answer.output)
        assert said["content"] == "Let me look."
        assert [call["function"]["name"] for call in said["tool_calls"]] == ["get_weather"]
