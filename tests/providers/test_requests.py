"""What providers are asked, in the words of OpenAI's API."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.providers.asked import Asked
from modelyard.providers.requests import NAMES, messages_of, settings_of
from modelyard.providers.tasks import TASKS, ClosedChatParams, ClosedEmbeddingParams
from modelyard.tasks.body import read

EVERYTHING = frozenset(NAMES.values())
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
WAV = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24


def asked(params: dict[str, Any], *, takes_top_k: bool = False, **fields: Any) -> Asked:
    return Asked(
        task="chat", provider="acme", prefix="openai", model="big", key="sk-1", fields=fields, params=params,
        within_s=1.0, takes_top_k=takes_top_k,
    )  # fmt: skip


def test_every_setting_of_a_conversation_has_a_name_at_providers() -> None:
    ours = set(ClosedChatParams.__struct_fields__) | {*ClosedEmbeddingParams.__struct_fields__} - {"normalize"}
    assert ours - {"do_sample", "top_k"} == NAMES.keys()


def test_settings_are_called_as_providers_call_them() -> None:
    params = {"max_new_tokens": 5, "num_return_sequences": 2, "stop": ["x"], "top_p": None}
    assert settings_of(asked(params), EVERYTHING) == {"max_tokens": 5, "n": 2, "stop": ["x"]}


def test_one_answer_is_not_asked_for() -> None:
    assert settings_of(asked({"num_return_sequences": 1}), frozenset()) == {}


def test_not_sampling_is_temperature_0() -> None:
    assert settings_of(asked({"do_sample": False}), EVERYTHING) == {"temperature": 0}


def test_any_object_and_a_schema_are_response_formats() -> None:
    assert settings_of(asked({"json_schema": {"type": "object"}}), EVERYTHING)["response_format"] == {
        "type": "json_object"
    }
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = settings_of(asked({"json_schema": schema}), EVERYTHING)["response_format"]
    assert wanted["json_schema"]["schema"] == schema


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_setting_that_the_provider_does_not_take_is_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"params.{name}: .*acme has no such setting"):
        settings_of(asked({name: 2}), EVERYTHING - {NAMES[name]})


def test_top_k_is_for_those_who_take_it() -> None:
    assert settings_of(asked({"top_k": 3}, takes_top_k=True), frozenset()) == {"top_k": 3}
    with pytest.raises(InvalidRequest, match=r"params\.top_k"):
        settings_of(asked({"top_k": 3}), EVERYTHING)


def test_a_text_is_a_users_message() -> None:
    assert messages_of({"text": "Hi"}) == [{"role": "user", "content": "Hi"}]


def test_media_travel_inside_messages() -> None:
    blocks = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "image", "media": {"where": "x", "data": PNG}},
        {"type": "audio", "media": {"where": "x", "data": WAV}},
    ]
    (message,) = messages_of({"messages": [{"role": "user", "content": blocks}]})
    text, image, sound = message["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert sound["input_audio"]["format"] == "wav"


def test_an_image_beside_a_text_goes_before_it() -> None:
    (message,) = messages_of({"text": "What is this?", "media": {"where": "url", "data": PNG}})
    assert [block["type"] for block in message["content"]] == ["image_url", "text"]


def test_a_developer_is_the_system_and_calls_go_back_as_they_came() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = messages_of(
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "4", "tool_call_id": "c"},
            ]
        }
    )
    assert messages[0]["role"] == "system"
    assert messages[1] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert messages[2]["tool_call_id"] == "c"


def test_videos_are_refused_by_their_place() -> None:
    block = {"type": "video", "media": {"where": "x", "data": b"?"}}
    with pytest.raises(InvalidRequest, match=r"messages\[0\].content\[0\].type"):
        messages_of({"messages": [{"role": "user", "content": [block]}]})


@pytest.mark.parametrize("task_id", sorted(TASKS))
def test_the_example_of_a_task_can_be_asked_of_closed_models(task_id: str) -> None:
    task = TASKS[task_id]
    body = {name: value for name, value in task.example.items() if name != "params"}
    assert read(task, body).task == task_id


def test_a_setting_that_no_provider_takes_is_refused_with_those_that_they_take() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.num_beams: .*no such field; one of max_new_tokens"):
        read(TASKS["chat"], {"text": "Hi", "params": {"num_beams": 2}})


def test_a_request_shows_no_key() -> None:
    assert "sk-1" not in repr(asked({}))
