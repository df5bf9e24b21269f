"""What is made of providers' answers."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InferenceFailed
from modelyard.protocol import FinishReason, Thought
from modelyard.providers.answers import (
    Message,
    conversation_outcome,
    text_outcome,
    transcript_outcome,
    usage_of,
    vectors_outcome,
)
from modelyard.providers.asked import Asked


def asked(params: dict[str, Any] | None = None, **fields: Any) -> Asked:
    return Asked(
        task="chat", provider="acme", prefix="openai", model="big", key="sk-1", fields=fields, params=params or {},
        within_s=1.0,
    )  # fmt: skip


def choice(text: str | None, reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {"message": {"content": text, **message}, "finish_reason": reason}


def test_the_answer_mirrors_the_form_of_the_last_message() -> None:
    as_text = asked(messages=[{"role": "user", "content": "Hi"}])
    as_blocks = asked(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}])
    assert conversation_outcome(as_text, [choice("Hello")], None, None).output["content"] == "Hello"
    assert conversation_outcome(as_blocks, [choice("Hello")], None, None).output["content"] == [
        {"text": "Hello", "type": "text"}
    ]


def test_several_answers_are_a_list_with_a_reason_each() -> None:
    outcome = conversation_outcome(
        asked({"num_return_sequences": 2}, text="Hi"), [choice("a"), choice("b", "length")], None, None
    )
    assert [each["content"] for each in outcome.output] == ["a", "b"]
    assert outcome.usage.finish_reasons == [FinishReason.STOP, FinishReason.LENGTH]


def test_what_a_provider_counts_is_the_usage() -> None:
    told = {
        "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    usage = usage_of(told, [choice("a", "length")])
    assert (usage.prompt_tokens, usage.new_tokens, usage.cached_tokens, usage.reasoning_tokens) == (9, 4, 5, 2)
    assert usage.finish_reason is FinishReason.LENGTH


def test_counts_that_are_none_are_not_believed() -> None:
    assert usage_of({"prompt_tokens": -1, "completion_tokens": "many"}, []).prompt_tokens is None


def test_calls_that_come_in_pieces_are_put_together() -> None:
    message = Message()
    told = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x": 1}'}}]},
    ]
    for delta in told:
        assert list(message.add({"delta": delta})) == []
    outcome = conversation_outcome(asked(text="Hi"), [message.whole()], None, None)
    assert [call["function"] for call in outcome.output["tool_calls"]] == [
        {"name": "f", "arguments": '{"x": 1}'},
        {"name": "g", "arguments": "{}"},
    ]


def test_thoughts_are_told_from_the_answer() -> None:
    message = Message()
    pieces = [
        *message.add({"delta": {"reasoning_content": "hm"}}),
        *message.add({"delta": {"content": "4"}, "finish_reason": "stop"}),
    ]
    assert [(str(piece), isinstance(piece, Thought)) for piece in pieces] == [("hm", True), ("4", False)]
    output = conversation_outcome(asked(text="Hi"), [message.whole()], None, None).output
    assert output == {"content": "4", "role": "assistant", "reasoning_content": "hm"}


def test_texts_stand_behind_their_prompts() -> None:
    choices = [{"text": " b"}, {"text": " c"}, {"text": " e"}, {"text": " f"}]
    two_each = asked({"num_return_sequences": 2}, text=["a", "d"])
    assert text_outcome(two_each, choices, None, None).output == [["a b", "a c"], ["d e", "d f"]]
    alone = asked({"return_full_text": False}, text="a")
    assert text_outcome(alone, choices[:1], None, None).output == " b"


def test_vectors_are_in_the_order_of_the_texts_and_scaled_where_that_is_wanted() -> None:
    data = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 4.0]}]
    assert vectors_outcome(asked(text=["a", "b"]), data, None, None).output == [[3.0, 4.0], [0.0, 2.0]]
    assert vectors_outcome(asked({"normalize": True}, text="a"), data[1:], None, None).output == [0.6, 0.8]


def test_answers_that_lack_something_are_failures() -> None:
    with pytest.raises(InferenceFailed, match="1 vectors for 2 texts"):
        vectors_outcome(asked(text=["a", "b"]), [{"index": 0, "embedding": [1.0]}], None, None)
    with pytest.raises(InferenceFailed, match="answered with nothing"):
        conversation_outcome(asked(text="a"), [], None, None)
    with pytest.raises(InferenceFailed, match="0 texts of 1"):
        text_outcome(asked(text="a"), [], None, None)


def test_a_transcript_has_its_times_and_how_long_the_sound_was() -> None:
    answer = {
        "text": "Hello there", "duration": 1.5,
        "segments": [{"start": 0.0, "end": 1.5, "text": "Hello there"}],
        "words": [{"start": 0, "end": 1, "word": "Hello"}],
    }  # fmt: skip
    plain = transcript_outcome(asked(), answer, None)
    assert (plain.output, plain.usage.sound_ms) == ("Hello there", 1500)
    timed = transcript_outcome(asked({"return_timestamps": True}), answer, None).output
    assert timed["chunks"] == [{"timestamp": [0.0, 1.5], "text": "Hello there"}]
    by_word = transcript_outcome(asked({"return_timestamps": "word"}), answer, None).output
    assert by_word["chunks"] == [{"timestamp": [0.0, 1.0], "text": "Hello"}]
