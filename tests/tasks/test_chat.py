from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.chat_template import turn_ends
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TASK = get_task("chat")
MESSAGES = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hi there"}]
SHORT = {"max_new_tokens": 12}


@pytest.fixture
def llama(load: Load) -> Model:
    return load("llama_chat", "causal-lm")


def reference(model: Model, messages: Any, **options: Any) -> Any:
    library = library_model("AutoModelForCausalLM", model.path)
    inputs = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        ids = library.generate(**inputs, do_sample=False, pad_token_id=0, eos_token_id=[2, 6], **options)[0]
    return model.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_answer_is_what_the_library_generates_behind_the_template(llama: Model, ask: Ask) -> None:
    answer = ask(TASK, llama, {"messages": MESSAGES, "params": SHORT})
    assert answer == {"role": "assistant", "content": reference(llama, MESSAGES, **SHORT)}


@pytest.mark.parametrize("kind", ["text", "input_text"])
def test_blocks_are_answered_by_blocks(llama: Model, ask: Ask, kind: str) -> None:
    blocks = [{"role": m["role"], "content": [{"type": kind, "text": m["content"]}]} for m in MESSAGES]
    plain = ask(TASK, llama, {"messages": MESSAGES, "params": SHORT})
    expected = {"role": "assistant", "content": [{"type": "text", "text": plain["content"]}]}
    assert ask(TASK, llama, {"messages": blocks, "params": SHORT}) == expected


def test_a_text_may_be_continued_as_it_stands(llama: Model, ask: Ask) -> None:
    params = {**SHORT, "use_template": False}
    library = library_model("AutoModelForCausalLM", llama.path)
    inputs = llama.tokenizer("Hi there", return_tensors="pt")
    with torch.inference_mode():
        ids = library.generate(**inputs, do_sample=False, pad_token_id=0, eos_token_id=[2, 6], **SHORT)[0].tolist()
    behind = llama.tokenizer.decode(ids, skip_special_tokens=True).removeprefix("Hi there")

    assert ask(TASK, llama, {"text": "Hi there", "params": params}) == {"role": "assistant", "content": behind}
    refused = ask(TASK, llama, {"messages": MESSAGES, "params": params})
    assert isinstance(refused, InvalidRequest)
    assert refused.data["field"] == "params.use_template"


@pytest.mark.parametrize("field", ["text", "prompt", "input"])
def test_a_bare_text_is_one_user_message(llama: Model, ask: Ask, field: str) -> None:
    messages = ask(TASK, llama, {"messages": [{"role": "user", "content": "Hi there"}], "params": SHORT})
    assert ask(TASK, llama, {field: "Hi there", "params": SHORT}) == messages


def test_stream_is_the_contents_text_only(llama: Model, ask: Ask) -> None:
    for messages in (MESSAGES, [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]):
        pieces: list[str] = []
        answer = ask(TASK, llama, {"messages": messages, "params": SHORT}, emit=pieces.append)
        content = answer["content"]
        assert "".join(pieces) == (content if isinstance(content, str) else content[0]["text"])
        assert len(pieces) > 1


def test_batch_answers_as_one_by_one(llama: Model, ask: Ask) -> None:
    bodies = [{"messages": MESSAGES[-count:], "params": SHORT} for count in (1, 2)] + [{"text": "a", "params": SHORT}]
    assert ask(TASK, llama, *bodies) == [ask(TASK, llama, body) for body in bodies]


def test_answer_ends_at_the_templates_end_of_turn(llama: Model, ask: Ask) -> None:
    assert turn_ends(llama, blocks=False) == (2, llama.tokenizer.convert_tokens_to_ids("<|end|>"))
    ids = llama.tokenizer.convert_tokens_to_ids(["<|end|>"])
    everything_else = [token for token in range(len(llama.tokenizer)) if token not in ids][:1024]
    answer = ask(TASK, llama, {"messages": MESSAGES, "params": {"suppress_tokens": everything_else}})
    assert answer["content"] == ""


def test_model_without_a_template_says_so_and_what_to_do(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("gpt2", "causal-lm"), {"messages": MESSAGES})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "messages"
    assert "text-generation" in error.message


def test_template_that_refuses_is_quoted_and_fails_alone(llama: Model, ask: Ask) -> None:
    error, answer = ask(TASK, llama, {"messages": MESSAGES[::-1], "params": SHORT}, {"text": "Hi", "params": SHORT})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "messages"
    assert "A system message must come first" in error.message
    assert answer["role"] == "assistant"


def test_developer_counts_as_system(llama: Model, ask: Ask) -> None:
    renamed = [{**MESSAGES[0], "role": "developer"}, MESSAGES[1]]
    expected = ask(TASK, llama, {"messages": MESSAGES, "params": SHORT})
    assert ask(TASK, llama, {"messages": renamed, "params": SHORT}) == expected


def test_several_sequences_are_several_messages(llama: Model, ask: Ask) -> None:
    params = {**SHORT, "num_return_sequences": 2, "temperature": 1.0}
    assert [m["role"] for m in ask(TASK, llama, {"text": "Hi", "params": params})] == ["assistant", "assistant"]


def test_long_conversation_is_refused(llama: Model, ask: Ask) -> None:
    error = ask(TASK, llama, {"messages": [{"role": "user", "content": "Hi there " * 200}]})
    assert error.data["field"] == "messages"
    assert "256" in error.message


def test_tools_need_a_template_that_knows_them(llama: Model, ask: Ask) -> None:
    assert ask(TASK, llama, {"text": "Hi", "tools": [{"type": "function"}]}).data["field"] == "tools"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([{"role": "wizard", "content": "Hi"}], "messages[0].role"),
        ([{"content": "Hi"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([], "messages"),
        (["Hi"], "messages[0]"),
    ],
)
def test_malformed_message_is_named(messages: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {"messages": messages})
    assert raised.value.data["field"] == field


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([{"type": "image", "url": "https://example.org/cat.png"}], "messages[0].content[0].type"),
        ([{"type": "text"}], "messages[0].content[0].text"),
        (None, "messages[0].content"),
    ],
)
def test_content_that_is_no_text_is_named(
    llama: Model, ask: Ask, content: list[dict[str, Any]] | None, field: str
) -> None:
    assert ask(TASK, llama, {"messages": [{"role": "user", "content": content}]}).data["field"] == field
