from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from modelyard.protocol import CalledPiece
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.builders.scripted import build_scripted

TASK = get_task("chat")
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
ASKED = [{"role": "user", "content": "How warm is it?"}]
CALL = ['{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"}}']
FAMILIES = {
    "hermes": (["Let me look.", "<tool_call>", *CALL, "</tool_call>"], [], "<tool_call>"),
    "special": (["Let me look.", "<tool_call>", *CALL, "</tool_call>"], ["<tool_call>", "</tool_call>"], "<tool_call>"),
    "mistral": (["Let me look.", "[TOOL_CALLS]", "[", *CALL, "]"], ["[TOOL_CALLS]"], "[TOOL_CALLS]"),
}
"""What a model writes, which of it are special tokens, and the mark that its template has."""


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    pieces, special, mark = FAMILIES[request.param]
    folder = build_scripted(tmp_path_factory.mktemp("scripted") / "org" / request.param, pieces, special, mark)
    return cast(Model, load_model("transformers", folder, ("causal-lm",), device="cpu"))


def body(**more: Any) -> dict[str, Any]:
    return {"messages": ASKED, "params": {"max_new_tokens": 40}, **more}


def test_functions_that_a_model_calls_are_told_from_what_it_says(model: Model, ask: Ask) -> None:
    pieces: list[str] = []
    for sink in ({}, {"emit": pieces.append}):
        answer = ask(TASK, model, body(tools=TOOLS), **sink)
        assert answer["content"] == "Let me look."
        (call,) = answer["tool_calls"]
        assert call["function"]["name"] == "get_weather"
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    said = "".join(each for each in pieces if not isinstance(each, CalledPiece))
    called = "".join(each for each in pieces if isinstance(each, CalledPiece))
    assert (said, called) == ("Let me look.", call["function"]["arguments"])


def test_without_tools_the_answer_is_text(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, body())
    assert "tool_calls" not in answer
    assert '"get_weather"' in answer["content"]


def test_a_call_that_the_limit_cuts_is_none(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, body(tools=TOOLS, params={"max_new_tokens": 4}))
    assert answer == {"role": "assistant", "content": "Let me look."}


def test_calls_and_their_results_come_back_in_the_conversation(model: Model, ask: Ask) -> None:
    first = ask(TASK, model, body(tools=TOOLS))
    result = {"role": "tool", "content": "21 degrees", "tool_call_id": first["tool_calls"][0]["id"]}
    again = ask(TASK, model, body(tools=TOOLS, messages=[*ASKED, first, result]))
    assert again["content"] == first["content"]


def test_a_model_whose_template_knows_no_tools_says_so(tmp_path: Path, load: Any, ask: Ask) -> None:
    error = ask(TASK, load("llama_chat", "causal-lm"), body(tools=TOOLS))
    assert error.data["field"] == "tools"


def test_a_call_that_is_demanded_needs_no_template_that_knows_tools(load: Any, ask: Ask) -> None:
    """The functions are told in words of ours, and the form is kept."""
    arguments = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"],
                 "additionalProperties": False}  # fmt: skip
    call = {"type": "object", "properties": {"name": {"const": "get_weather"}, "arguments": arguments},
            "required": ["name", "arguments"], "additionalProperties": False}  # fmt: skip
    model = load("llama_chat", "causal-lm")
    params = {"max_new_tokens": 200, "json_schema": call, "do_sample": False}

    (made,) = ask(TASK, model, body(tools=TOOLS, params=params))["tool_calls"]
    assert (made["function"]["name"], json.loads(made["function"]["arguments"])) == ("get_weather", {"city": "Paris"})
