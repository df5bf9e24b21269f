"""`/v1/chat/completions`, by OpenAI's own client: whole answers, events, settings, errors."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.later import Later
from tests.serving import Server

openai = Later("openai")

MODEL = "tiny/chat"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SETTINGS: dict[str, Any] = {"temperature": 0, "max_tokens": 12}
GREEDY = {"do_sample": False, "max_new_tokens": 12}
ENDLESS: dict[str, Any] = {"max_tokens": 100, "extra_body": {"min_new_tokens": 100}, "temperature": 0}


def expected(server: Server, **params: Any) -> str:
    """What v2 answers to the same."""
    return str(server.run(MODEL, messages=HELLO, params={**GREEDY, **params})["content"])


def test_an_answer_is_v2s_with_its_tokens_and_why_it_ended(server: Server, client: openai.OpenAI) -> None:
    begun = int(time.time())
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, **SETTINGS)

    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", expected(server))
    assert (choice.index, choice.finish_reason) == (0, "length")
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model, begun <= answer.created <= time.time()) == ("chat.completion", MODEL, True)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_events_put_together_are_the_answer(server: Server, client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, **SETTINGS}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))

    *pieces, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == expected(server)
    assert [chunk.choices[0].delta.role for chunk in pieces] == ["assistant"] + [None] * (len(pieces) - 1)
    assert [chunk.choices[0].finish_reason for chunk in pieces] == [None] * (len(pieces) - 1) + ["length"]
    assert all(chunk.usage is None for chunk in pieces)
    assert (last.choices, last.usage) == ([], client.chat.completions.create(**asked).usage)
    assert len({(chunk.id, chunk.model, chunk.created) for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-")


def test_a_stream_without_the_wish_has_no_usage_and_ends_with_done(server: Server) -> None:
    body = {"model": MODEL, "messages": HELLO, **SETTINGS, "stream": True}
    told = server.client.post("/v1/chat/completions", json=body)

    assert told.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done, rest = told.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all("usage" not in json.loads(each.removeprefix("data: ")) for each in events)


async def test_the_asynchronous_client_reads_the_same(server: Server, async_client: openai.AsyncOpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, **SETTINGS}
    whole = await async_client.chat.completions.create(**asked)
    stream = await async_client.chat.completions.create(**asked, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert whole.choices[0].message.content == "".join(pieces) == expected(server)


def test_the_streaming_helper_of_the_client_puts_the_answer_together(server: Server, client: openai.OpenAI) -> None:
    whole = expected(server)
    with client.chat.completions.stream(model=MODEL, messages=HELLO, **SETTINGS, stop=whole[-1]) as stream:
        final = stream.get_final_completion()

    assert final.choices[0].message.content == whole[: whole.index(whole[-1])]
    assert final.choices[0].message.role == "assistant"


def test_contents_may_be_parts(server: Server, client: openai.OpenAI) -> None:
    parts: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    answer = client.chat.completions.create(model=MODEL, messages=parts, **SETTINGS)

    assert answer.choices[0].message.content == expected(server)


def test_a_stop_string_ends_the_answer_before_it(server: Server, client: openai.OpenAI) -> None:
    whole = expected(server)
    stop = whole[len(whole) // 2 :][:2]
    for given in (stop, [stop, "never made"]):
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, **SETTINGS, stop=given)
        assert answer.choices[0].message.content == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"


def test_a_seed_makes_draws_repeatable(client: openai.OpenAI) -> None:
    def draw(seed: int) -> str | None:
        answer = client.chat.completions.create(
            model=MODEL, messages=HELLO, max_completion_tokens=12, temperature=1.5, top_p=0.95, seed=seed
        )
        return answer.choices[0].message.content

    assert draw(-5) == draw(-5)
    assert len({draw(seed) for seed in range(6)}) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_are_drawn(client: openai.OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": HELLO, "n": 3, "max_tokens": 8, "seed": 1}
    whole = client.chat.completions.create(**asked)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 24
    if stream:
        streamed = ["", "", ""]
        ends: dict[int, str | None] = {}
        for chunk in client.chat.completions.create(**asked, stream=True):
            (choice,) = chunk.choices
            streamed[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason
        assert streamed == texts
        assert ends == {choice.index: choice.finish_reason for choice in whole.choices}


def test_settings_of_the_task_may_be_given_by_their_own_names(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, **ENDLESS)

    assert answer.usage is not None
    assert answer.usage.completion_tokens == 100


NEUTRAL: dict[str, Any] = {
    "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "logprobs": False, "n": 1, "user": "ada",
    "tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "service_tier": "auto", "store": False,
    "verbosity": "medium", "prompt_cache_retention": "24h",
    "parallel_tool_calls": True, "metadata": {"a": "b"}, "stop": [], "modalities": ["text"],
}  # fmt: skip


def test_what_asks_for_nothing_changes_nothing(server: Server, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, **SETTINGS, **NEUTRAL)

    assert answer.choices[0].message.content == expected(server)


@pytest.mark.parametrize(
    ("wrong", "param", "words"),
    [
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"max_tokens": 0}, "max_tokens", "1 to"),
        ({"n": 17}, "n", "1 to 16"),
        ({"n": 2, "temperature": 0}, "n", "temperature 0"),
        ({"messages": []}, "messages", "not empty"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role", "judge"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a.test/b"}}]}]},
         "messages[0].content[0].type", "reads text only"),
        ({"stop": ""}, "stop", "none empty"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream is true"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "knows no tools"),
        ({"store": True}, "store", "not stored"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, "modalities", "does not say them"),
        ({"audio": {"voice": "alloy"}}, "audio", "unless modalities"),
        ({"colour": "red"}, "colour", "no such field"),
        ({"top_k": -1}, "top_k", "-1"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "6"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_or_cannot_be_done_is_named(
    client: openai.OpenAI, wrong: dict[str, Any], param: str, words: str, stream: bool
) -> None:
    if stream and "stream_options" in wrong:
        wrong = {"stream_options": {"include_usage": "yes"}}
        param, words = "stream_options.include_usage", "true or false"
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream, extra_body=wrong)

    assert (raised.value.param, raised.value.type) == (param, "invalid_request_error")
    assert words in raised.value.message
    assert "params." not in raised.value.message


def test_a_model_that_cannot_chat_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="text-classification") as raised:
        client.chat.completions.create(model="tiny/classifier", messages=HELLO)
    assert raised.value.param == "model"


def test_an_unknown_model_is_told_with_the_nearest_names(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny/chat") as raised:
        client.chat.completions.create(model="tiny/chap", messages=HELLO)
    assert raised.value.code == "model_not_found"


def test_a_conversation_over_the_context_is_a_400_with_the_figures(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tokens") as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello " * 2000}])
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "messages")


def test_a_wrong_key_is_a_401(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="nobody's", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        stranger.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.code == "invalid_api_key"


def test_bodies_that_are_no_json_are_told_so(server: Server) -> None:
    told = server.client.post("/v1/chat/completions", content=b"{not json")

    assert told.status_code == 400
    assert told.json()["error"]["code"] == "malformed_body"
