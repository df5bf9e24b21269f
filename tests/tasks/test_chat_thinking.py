from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from modelyard.errors import InvalidRequest
from modelyard.protocol import Outcome, Thought
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.builders.scripted import build_scripted

TASK = get_task("chat")
ASKED = [{"role": "user", "content": "What is two and two?"}]
FAMILIES: dict[str, tuple[list[str], list[str], str]] = {
    "think": (["<think>", "\nTwo", " and", " two", "</think>", "\n\nFo", "ur."], [], "<think>"),
    "mistral": (["[THINK]", "Two", " and", " two", "[/THINK]", "Fo", "ur."], ["[THINK]", "[/THINK]"], "[THINK]"),
    "cohere": (
        ["<|START_THINKING|>", "Two", " and", " two", "<|END_THINKING|>", "<|START_RESPONSE|>", "Fo", "ur."],
        ["<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"],
        "<|START_THINKING|>",
    ),
}
"""What a model writes, which of it are special tokens, and the mark that its template has."""


def build(folder: Path, family: str, *, opens: bool = False) -> Model:
    pieces, special, mark = FAMILIES[family]
    build_scripted(folder, pieces[1:] if opens else pieces, special, mark, opens=opens)
    return cast(Model, load_model("transformers", folder, ("causal-lm",), device="cpu"))


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return build(tmp_path_factory.mktemp("thinking") / "org" / request.param, request.param)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model whose template opens the thinking itself, unless it is told not to."""
    return build(tmp_path_factory.mktemp("opened") / "org" / "opened", "think", opens=True)


def body(**params: Any) -> dict[str, Any]:
    return {"messages": ASKED, "params": {"max_new_tokens": 40, **params}}


def outcome_of(model: Model, body: dict[str, Any]) -> Outcome:
    inference = read(TASK, body)
    (outcome,) = TASK.run(model, [to_call(TASK, inference.fields, inference.params)])
    assert isinstance(outcome, Outcome)
    return outcome


def texts_of(model: Model, body: dict[str, Any]) -> Any:
    inference = read(TASK, body)
    assert TASK.generation is not None
    return TASK.generation.prompts(model, to_call(TASK, inference.fields, inference.params))


def test_what_is_thought_is_no_part_of_the_answer(model: Model, ask: Ask) -> None:
    pieces: list[str] = []
    for sink in ({}, {"emit": pieces.append}):
        assert ask(TASK, model, body(), **sink) == {
            "role": "assistant",
            "content": "Four.",
            "reasoning_content": "Two and two",
        }
    assert "".join(each for each in pieces if isinstance(each, Thought)) == "Two and two"
    assert "".join(each for each in pieces if not isinstance(each, Thought)) == "Four."


def test_tokens_of_thinking_are_told_beside_all_that_were_made(model: Model) -> None:
    usage = outcome_of(model, body()).usage
    assert usage.new_tokens is not None
    assert usage.reasoning_tokens == usage.new_tokens - 3  # the answer's two, and the end


def test_thinking_that_the_limit_cuts_leaves_no_answer(opened: Model, ask: Ask) -> None:
    assert ask(TASK, opened, body(max_new_tokens=3)) == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "Two and two",
    }


def test_a_template_may_have_begun_the_thinking(opened: Model, ask: Ask) -> None:
    answer = ask(TASK, opened, body())
    assert (answer["content"], answer["reasoning_content"]) == ("Four.", "Two and two")


def test_a_form_holds_the_answer_and_not_the_thinking(model: Model, opened: Model, ask: Ask) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [3, 4]}}, "required": ["n"], "additionalProperties": False}
    for held in (model, opened):
        for form in ({"json_schema": schema}, {"regex": '\\{"n": [34]\\}'}, {"grammar": 'root ::= "{\\"n\\": 4}"'}):
            answer = ask(TASK, held, body(**form))
            assert answer["reasoning_content"] == "Two and two"
            assert json.loads(answer["content"])["n"] in (3, 4)


def test_a_form_alone_is_kept_where_the_model_is_not_to_think(opened: Model, ask: Ask) -> None:
    answer = ask(TASK, opened, body(regex="[a-f]{4}", chat_template_kwargs={"enable_thinking": False}))
    assert len(answer["content"]) == 4
    assert "reasoning_content" not in answer


def test_what_was_thought_is_taken_back_in_the_conversation(model: Model, ask: Ask) -> None:
    first = ask(TASK, model, body())
    for said in (first, {"role": "assistant", "content": "Four.", "reasoning": "Hm."}):
        again = ask(TASK, model, {**body(), "messages": [*ASKED, said, *ASKED]})
        assert again["content"] == "Four."


def test_variables_of_the_template_are_set(opened: Model) -> None:
    thinking = outcome_of(opened, body()).usage
    for params in (
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "none"},
        {"thinking": False},
    ):
        closed = outcome_of(opened, body(**params)).usage
        assert (closed.prompt_tokens or 0) > (thinking.prompt_tokens or 0)
        assert (closed.reasoning_tokens, thinking.reasoning_tokens) == (None, 4)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"chat_template_kwargs": {"style": "loud"}}, "params.chat_template_kwargs.style"),
        ({"chat_template_kwargs": {"messages": []}}, "params.chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "params.chat_template_kwargs.chat_template"),
        ({"reasoning_effort": "high"}, "params.reasoning_effort"),
        ({"reasoning_effort": "a lot"}, "params.reasoning_effort"),
    ],
)
def test_what_the_template_does_not_read_is_refused_by_name(opened: Model, params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        texts_of(opened, body(**params))
    assert refused.value.data["field"] == field


def test_a_model_that_does_not_think_is_told_not_to(load: Any, ask: Ask) -> None:
    chat = load("llama_chat", "causal-lm")
    assert ask(TASK, chat, body(reasoning_effort="none")) == ask(TASK, chat, body())
    assert ask(TASK, chat, body(thinking=True)) == ask(TASK, chat, body(thinking=False)) == ask(TASK, chat, body())
    assert ask(TASK, chat, body(reasoning_effort="low")).data["field"] == "params.reasoning_effort"
