"""Closed models against providers on this machine: another server of ours, and one that says what a test tells it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.attacks.test_strangers import add_account
from tests.clients.programs import installed
from tests.later import Later
from tests.providers.local import PACKAGES, Answer, Asked, LocalProvider, chunks, completion, events
from tests.serving import KEY, REQUEST_S, Server, is_alive, wait_until
from tests.telemetry.collector import Collector, attributes_of, collecting

anthropic = Later("anthropic")
openai = Later("openai")

ROOT = Path(__file__).parents[2]
OWN_KEY = "sk-the-callers-own-key-0123456789"
OPERATORS_KEY = "sk-the-operators-key-9876543210"
MESSAGES = [{"role": "user", "content": "Say hello."}]
GPT = "openai/gpt-4o"
PROGRAM = "modelyard.providers.server"
GPT_NANO = {"read": 2_500, "new": 10_000}
"""What the library's list says of a token, in billionths of a dollar."""


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with LocalProvider().running() as running:
        yield running


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, model_folder: Any) -> Path:
    folder = tmp_path_factory.mktemp("yard")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "chat").symlink_to(model_folder("llama_chat"))
    return folder


@pytest.fixture(scope="module")
def yard(shared_server: Server, models: Path) -> Iterator[Server]:
    """A server of ours, as a provider that speaks as OpenAI's does."""
    with shared_server.with_models(models) as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the server's traces go."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def server(
    provider: LocalProvider, yard: Server, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "models").mkdir()
    urls = {
        "yard": f"{yard.url}/v1", "openai": provider.url, "anthropic": provider.url, "google": provider.url,
        "mistral": f"{provider.url}/v1", "cohere": provider.url, "groq": provider.url, "together": provider.url,
        "openrouter": provider.url, "xai": provider.url, "deepseek": provider.url,
    }  # fmt: skip
    environ = {
        "MODELYARD_PROVIDER_URLS": ",".join(f"{name}={url}" for name, url in urls.items()),
        "MODELYARD_PROVIDER_KEYS": f"yard={KEY},openai={OPERATORS_KEY}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(PACKAGES)]),
    }
    with Server(folder, folder / "models", "--rate-limit", "0", boots=False, **environ) as running:
        yield running


def ask(server: Server, model_id: str, key: str | None = OWN_KEY, **body: Any) -> httpx.Response:
    return server.post(model_id, {} if key is None else {"provider-key": key}, **body)


def provider_process(server: Server) -> psutil.Process:
    """The one that asks providers."""
    (process,) = [each for each in server.descendants() if PROGRAM in each.cmdline()]
    return process


def usage_of(server: Server, response: httpx.Response) -> dict[str, Any]:
    """What was written down of a request, once it is."""
    path = f"/models/v2/usage/{response.headers['x-request-id']}"
    found = wait_until(lambda: answer if (answer := server.client.get(path)).status_code == 200 else None)
    return dict(found.json()["output"])


def test_a_server_that_the_operator_names_answers_as_it_does_itself(server: Server, yard: Server) -> None:
    body = {"messages": MESSAGES, "params": {"max_new_tokens": 8, "temperature": 0}}
    direct = yard.run("tiny/chat", **body)

    answer = ask(server, "yard/tiny/chat", key=None, **body)

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == direct
    assert answer.json()["provider"]["object"] == "chat.completion"
    assert answer.json()["provider"]["usage"]["completion_tokens"] == 8


def test_its_stream_has_the_same_text(server: Server, yard: Server) -> None:
    body = {"messages": MESSAGES, "params": {"max_new_tokens": 8, "temperature": 0}}
    direct = yard.run("tiny/chat", **body)

    with server.client.stream("POST", "/models/v2/yard/tiny/chat", json={**body, "stream": True}) as answer:
        pieces = list(answer.iter_text())

    assert "".join(pieces) == direct["content"]
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_openais_client_asks_a_closed_model(server: Server, provider: LocalProvider) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Paris"}'}}
    provider.answers(Answer(completion("Hello", tool_calls=[call])))
    tool: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    asked: dict[str, Any] = {
        "model": GPT, "messages": MESSAGES, "max_tokens": 7, "seed": 5, "tools": [tool], "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}},
    }  # fmt: skip
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        answer = client.chat.completions.create(**asked)

    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "tool_calls"
    (called,) = answer.choices[0].message.tool_calls or ()
    assert called.function.arguments == '{"city": "Paris"}'  # type: ignore[union-attr]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 2)
    (got,) = provider.asked
    assert got.headers["authorization"] == f"Bearer {OWN_KEY}"
    assert got.body["model"] == "gpt-4o"
    assert got.body["tool_choice"] == "required"
    assert got.body["tools"][0]["function"]["name"] == "look_up"
    assert got.body["response_format"]["json_schema"]["schema"] == schema
    assert (got.body["max_tokens"], got.body["seed"]) == (7, 5)


def test_a_schema_goes_on_to_a_closed_model_however_it_was_sent(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("{}")))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    wanted = {
        "value": {"type": "json_object", "value": schema},
        "schema": {"type": "json_object", "schema": schema},
        "json_schema": {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}},
    }
    for name, form in wanted.items():
        body = {"model": GPT, "messages": MESSAGES, "response_format": form}
        answer = server.client.post(f"/hf/{GPT}/v1/chat/completions", json=body, headers={"provider-key": OWN_KEY})
        assert answer.status_code == 200, (name, answer.text)
        assert provider.asked[-1].body["response_format"]["json_schema"]["schema"] == schema

    misplaced = {"type": "json_schema", "schema": schema}
    body = {"model": GPT, "messages": MESSAGES, "response_format": misplaced}
    refused = server.client.post("/v1/chat/completions", json=body, headers={"provider-key": OWN_KEY})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_format.json_schema")
    assert len(provider.asked) == len(wanted)


def test_a_stream_of_a_closed_model_goes_through_openais_client(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(chunks(["Hel", "lo"]), content_type="text/event-stream"))
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        stream: Any = client.chat.completions.create(
            model=GPT,
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},  # type: ignore[arg-type]
        )
        got = list(stream)

    assert "".join(each.choices[0].delta.content or "" for each in got if each.choices) == "Hello"
    assert got[-1].choices == []
    assert (got[-1].usage.prompt_tokens, got[-1].usage.completion_tokens) == (3, 2)


def test_the_operators_key_is_paid_for_by_the_token(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello", read=1000, made=100)))

    answer = ask(server, GPT, key=None, messages=MESSAGES)

    assert answer.status_code == 200, answer.text
    assert provider.asked[0].headers["authorization"] == f"Bearer {OPERATORS_KEY}"
    cost = 1000 * GPT_NANO["read"] + 100 * GPT_NANO["new"]
    assert float(answer.headers["inference-cost"]) == pytest.approx(cost / 1e9)
    assert answer.headers["inference-meter"] == "tokens"
    assert usage_of(server, answer)["costNano"] == cost


def test_the_callers_own_key_costs_nothing_here(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello", read=1000, made=100)))

    answer = ask(server, GPT, messages=MESSAGES)

    assert provider.asked[0].headers["authorization"] == f"Bearer {OWN_KEY}"
    assert float(answer.headers["inference-cost"]) == 0
    assert usage_of(server, answer)["costNano"] == 0


def test_credit_is_set_aside_for_the_operators_key_and_not_for_the_callers(
    server: Server, provider: LocalProvider
) -> None:
    provider.answers(Answer(completion("Hello")))
    with server.client_of(server.command("keys", "create", "funded", "--account", "funded")) as client:
        server.command("accounts", "credit", "funded", "0.02")  # less than is set aside, more than it spends meanwhile

        def post(key: dict[str, str]) -> httpx.Response:
            return client.post(f"/models/v2/{GPT}", json={"messages": MESSAGES}, headers=key)

        wait_until(lambda: post({}).status_code == 402)
        asked = len(provider.asked)
        assert "set aside" in post({}).json()["error"]
        assert len(provider.asked) == asked
        own = post({"provider-key": OWN_KEY})
        assert own.status_code == 200, own.text + server.log.read_text()[-2000:]


def test_a_trace_goes_on_at_the_provider(server: Server, provider: LocalProvider, collector: Collector) -> None:
    provider.answers(Answer(completion("Hello")))
    trace_id, caller_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"provider-key": OWN_KEY, "traceparent": f"00-{trace_id}-{caller_id}-01"}
    answered = server.post(GPT, headers, messages=MESSAGES)
    spans = {each["name"]: each for each in wait_until(collector.spans) if each["traceId"] == trace_id}
    root, asked = spans["inference"], spans["provider"]
    assert (root["parentSpanId"], asked["parentSpanId"]) == (caller_id, root["spanId"])
    assert attributes_of(root)["modelyard.request_id"] == answered.headers["x-request-id"]
    assert attributes_of(root)["gen_ai.usage.output_tokens"] == "2"
    assert attributes_of(asked)["gen_ai.provider.name"] == "openai"
    assert provider.asked[-1].headers["traceparent"] == f"00-{trace_id}-{asked['spanId']}-01"
    ask(server, GPT, messages=MESSAGES)
    assert "traceparent" not in provider.asked[-1].headers
    sent = repr(collector.bodies)
    assert [secret for secret in (OWN_KEY, OPERATORS_KEY, KEY, MESSAGES[0]["content"]) if secret in sent] == []


def test_a_missing_key_is_named(server: Server) -> None:
    answer = ask(server, "anthropic/claude-sonnet-4-5", key=None, messages=MESSAGES)

    assert answer.status_code == 401
    assert "provider-key" in answer.json()["error"]


def test_the_operators_key_is_not_used_where_nobody_knows_the_price(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello")))

    answer = server.client.post("/models/v2/openai/gpt-unheard-of?source=provider", json={"messages": MESSAGES})

    assert answer.status_code == 401
    assert "price" in answer.json()["error"]
    assert provider.asked == []


def test_a_hub_model_of_a_providers_organisation_is_reached_as_ever(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello")))

    assert ask(server, "openai/whisper-large-v3", key=None, messages=MESSAGES).status_code == 404
    assert server.client.post(f"/models/v2/{GPT}?source=hub", json={"messages": MESSAGES}).status_code == 404
    assert provider.asked == []
    assert ask(server, "openai/gpt-of-tomorrow", messages=MESSAGES).status_code == 200
    assert ask(server, "openrouter/meta-llama/llama-3.1-8b", messages=MESSAGES).status_code == 200
    assert [each.body["model"] for each in provider.asked] == ["gpt-of-tomorrow", "meta-llama/llama-3.1-8b"]


def test_a_provider_is_asked_again_when_it_says(server: Server, provider: LocalProvider) -> None:
    busy = Answer({"error": {"message": "slow down"}}, 429, {"retry-after": "0"})
    provider.answers(busy, Answer({"error": "down"}, 503), Answer(completion("Hello")))

    answer = ask(server, GPT, messages=MESSAGES)

    assert answer.status_code == 200, answer.text
    assert len(provider.asked) == 3


def test_a_provider_that_stays_busy_is_told_with_its_words_and_its_time(
    server: Server, provider: LocalProvider
) -> None:
    provider.answers(Answer({"error": {"message": f"slow down, {OWN_KEY}"}}, 429, {"retry-after": "3600"}))

    answer = ask(server, GPT, messages=MESSAGES)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "3600"
    assert "slow down" in answer.json()["error"]
    assert "429" in answer.json()["error"]
    assert OWN_KEY not in answer.text
    assert len(provider.asked) == 1


@pytest.mark.parametrize(("status", "shown"), [(400, 422), (404, 422), (401, 401), (403, 401)])
def test_a_refusal_is_passed_on_and_not_tried_again(
    server: Server, provider: LocalProvider, status: int, shown: int
) -> None:
    provider.answers(Answer({"error": {"message": "the words of the provider", "type": "x"}}, status))

    answer = ask(server, GPT, messages=MESSAGES)

    assert answer.status_code == shown, answer.text
    assert "the words of the provider" in answer.json()["error"]
    assert str(status) in answer.json()["error"]
    assert len(provider.asked) == 1


def test_a_stream_that_breaks_off_breaks_off_for_the_client_and_is_not_asked_again(
    server: Server, provider: LocalProvider
) -> None:
    provider.answers(Answer(chunks(["Hel", "lo"], ends=False), content_type="text/event-stream", breaks=True))

    def read() -> str:
        with server.client.stream(
            "POST", f"/models/v2/{GPT}", json={"messages": MESSAGES, "stream": True}, headers={"provider-key": OWN_KEY}
        ) as answer:
            return "".join(answer.iter_text())

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert len(provider.asked) == 1


def test_what_a_provider_cannot_do_is_refused_by_name(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello")))

    for model_id, params, name in (
        (GPT, {"top_k": 3}, "params.top_k"),
        ("anthropic/claude-sonnet-4-5", {"seed": 3}, "params.seed"),
        (GPT, {"num_beams": 3}, "params.num_beams"),
    ):
        answer = ask(server, model_id, messages=MESSAGES, params=params)
        assert answer.status_code == 422, answer.text
        assert name in answer.json()["error"]
    assert provider.asked == []


def test_the_next_model_is_asked_when_one_cannot_answer(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer({"error": "down"}, 503, {"retry-after": "3600"}))
    body = {"messages": MESSAGES, "params": {"max_new_tokens": 4}, "models": ["yard/tiny/chat"]}

    answer = server.client.post(f"/models/v2/{GPT}", json=body)

    assert answer.status_code == 200, answer.text
    assert answer.headers["inference-model"] == "yard/tiny/chat"
    assert len(provider.asked) == 1


def test_the_next_model_draws_speaks_listens_and_embeds(server: Server, provider: LocalProvider) -> None:
    """Forms of clients have lists under names with brackets, even where there is one in them."""
    sound = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24
    answers = {
        "/embeddings": Answer({"object": "list", "model": "told", "usage": {"prompt_tokens": 1, "total_tokens": 1},
                               "data": [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]}),
        "/images/generations": Answer({"created": 1, "data": [{"b64_json": PNG}]}),
        "/audio/speech": Answer(sound, content_type="audio/wav"),
        "/audio/transcriptions": Answer({"text": "Hello"}),
    }  # fmt: skip

    def say(asked: Asked) -> Answer:
        named = asked.body if isinstance(asked.body, bytes) else json.dumps(asked.body).encode()
        return answers[asked.path] if b"spare" in named else Answer({"error": "down"}, 503, {"retry-after": "3600"})

    provider.asked.clear()
    provider.say = say
    more = {"extra_body": {"models": ["openai/spare"]}}
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        raw = client.with_raw_response
        answered = [
            raw.embeddings.create(model="openai/text-embedding-3-small", input=["a"], **more),
            raw.images.generate(model="openai/gpt-image-1", prompt="a fox", **more),
            raw.audio.speech.create(model="openai/tts-1", input="Hi", voice="nova", **more),
            raw.audio.transcriptions.create(model="openai/whisper-1", file=("a.wav", sound), **more),
        ]

    assert [each.headers["inference-model"] for each in answered] == ["openai/spare"] * 4
    assert [each.path for each in provider.asked] == [path for path in answers for _ in range(2)]


def test_a_bad_request_is_not_tried_on_the_next_model(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer({"error": {"message": "no"}}, 400))

    answer = ask(server, GPT, messages=MESSAGES, models=["yard/tiny/chat"])

    assert answer.status_code == 422
    assert len(provider.asked) == 1


# --- providers with an API of their own: what they are asked and answer is built and read with their own types ---


@pytest.fixture(scope="module")
def googles_answers() -> dict[str, Any]:
    """Answers of Google's API."""
    return dict(google()["answers"])


def google(*requests: Any) -> dict[str, Any]:
    """Answers of Google's API, and requests as its types read them. Imports them in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(PACKAGES)])}
    program = [sys.executable, "-m", "tests.providers.google_answers"]
    done = subprocess.run(
        program, input=json.dumps(requests), env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def anthropic_message(*blocks: Any, reason: Any = "end_turn") -> dict[str, Any]:
    """A message as Anthropic's API has it."""
    return anthropic.types.Message(
        id="msg_1", type="message", role="assistant", model="told", content=list(blocks), stop_reason=reason,
        usage=anthropic.types.Usage(input_tokens=7, output_tokens=2),
    ).model_dump(mode="json")  # fmt: skip


def anthropic_events(*texts: str) -> bytes:
    """The same in events."""
    from anthropic import types

    begun = anthropic_message(reason=None)
    told: list[Any] = [
        types.RawMessageStartEvent(type="message_start", message=begun),  # type: ignore[arg-type]
        types.RawContentBlockStartEvent(
            type="content_block_start", index=0, content_block=types.TextBlock(type="text", text="")
        ),
        *(
            types.RawContentBlockDeltaEvent(
                type="content_block_delta", index=0, delta=types.TextDelta(type="text_delta", text=text)
            )
            for text in texts
        ),
        types.RawContentBlockStopEvent(type="content_block_stop", index=0),
        types.RawMessageDeltaEvent.model_validate(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
             "usage": {"output_tokens": 2}}
        ),
        types.RawMessageStopEvent(type="message_stop"),
    ]  # fmt: skip
    return events(*(each.model_dump(mode="json") for each in told), named=True, done=False)


CLAUDE = "anthropic/claude-sonnet-4-5"
GEMINI = "google/gemini-2.5-flash"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 32).decode()


def stream(server: Server, model_id: str, key: str = OWN_KEY) -> list[str]:
    """The pieces of a streamed answer."""
    with server.client.stream(
        "POST", f"/models/v2/{model_id}", json={"messages": MESSAGES, "stream": True}, headers={"provider-key": key}
    ) as answer:
        assert answer.status_code == 200, answer.read()
        return list(answer.iter_text())


def test_anthropics_messages(server: Server, provider: LocalProvider) -> None:
    block = anthropic.types.TextBlock(type="text", text="Hello")
    provider.answers(Answer(anthropic_message(block)))

    answer = ask(server, CLAUDE, messages=MESSAGES, params={"max_new_tokens": 9, "top_k": 3, "stop": ["x"]})

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == {"role": "assistant", "content": "Hello"}
    assert answer.json()["provider"]["stop_reason"] == "end_turn"
    (got,) = provider.asked
    assert got.path == "/v1/messages"
    assert got.headers["x-api-key"] == OWN_KEY
    assert (got.body["max_tokens"], got.body["top_k"], got.body["stop_sequences"]) == (9, 3, ["x"])


def test_anthropics_events(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(anthropic_events("Hel", "lo"), content_type="text/event-stream"))

    assert "".join(stream(server, CLAUDE)) == "Hello"


def test_anthropics_tools(server: Server, provider: LocalProvider) -> None:
    block = anthropic.types.ToolUseBlock(type="tool_use", id="t1", name="look_up", input={"city": "Paris"})
    provider.answers(Answer(anthropic_message(block, reason="tool_use")))

    answer = ask(server, CLAUDE, messages=MESSAGES, tools=[TOOL], params={"tool_choice": "required"})

    (call,) = answer.json()["output"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    (got,) = provider.asked
    assert got.body["tools"][0]["name"] == "look_up"
    assert got.body["tool_choice"]["type"] == "any"


def test_googles_contents(server: Server, provider: LocalProvider, googles_answers: dict[str, Any]) -> None:
    provider.answers(Answer(googles_answers["whole"]), Answer(googles_answers["calling"]))
    content = [{"type": "text", "text": "What is this?"}, {"type": "image", "base64": PNG}]
    body = {"messages": [{"role": "user", "content": content}], "params": {"max_new_tokens": 9, "top_k": 3}}

    answer = ask(server, GEMINI, **body)
    calling = ask(server, GEMINI, messages=MESSAGES, tools=[TOOL])

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]["content"] == [{"type": "text", "text": "Hello"}]
    assert answer.json()["provider"]["candidates"][0]["finishReason"] == "STOP"
    (call,) = calling.json()["output"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    first, second = google(*(each.body for each in provider.asked))["requests"]
    assert (first["texts"], first["media"]) == (["What is this?"], ["image/png"])
    assert (first["max_output_tokens"], first["top_k"]) == (9, 3)
    assert second["functions"] == ["look_up"]
    assert provider.asked[0].headers["x-goog-api-key"] == OWN_KEY


def test_googles_events(server: Server, provider: LocalProvider, googles_answers: dict[str, Any]) -> None:
    told = events(*googles_answers["events"], done=False)
    provider.answers(Answer(told, content_type="text/event-stream"))

    assert "".join(stream(server, GEMINI)) == "Hello"


@pytest.mark.parametrize(
    ("model_id", "path"),
    [
        ("mistral/mistral-large-latest", "/v1/chat/completions"),
        ("xai/grok-4", "/chat/completions"),
        ("deepseek/deepseek-chat", "/chat/completions"),
        ("groq/llama-3.3-70b-versatile", "/chat/completions"),
        ("together/meta-llama/Llama-3.3-70B-Instruct-Turbo", "/chat/completions"),
        ("openrouter/meta-llama/llama-3.1-8b", "/chat/completions"),
    ],
)
def test_others_are_asked_as_openai_is(server: Server, provider: LocalProvider, model_id: str, path: str) -> None:
    provider.answers(Answer({**completion("Hello"), "service_tier": None}))

    answer = ask(server, model_id, messages=MESSAGES, params={"max_new_tokens": 5, "temperature": 0.5})
    provider.say = lambda _asked: Answer(chunks(["Hel", "lo"]), content_type="text/event-stream")
    pieces = stream(server, model_id)

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]["content"] == "Hello"
    assert "".join(pieces) == "Hello"
    assert {each.path for each in provider.asked} == {path}
    assert {each.headers["authorization"] for each in provider.asked} == {f"Bearer {OWN_KEY}"}
    assert provider.asked[0].body["model"] == model_id.partition("/")[2]


def test_coheres_conversations_and_vectors(server: Server, provider: LocalProvider) -> None:
    counts = {"input_tokens": 3, "output_tokens": 2}
    tokens = {"tokens": counts, "billed_units": counts}
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    provider.answers(
        Answer({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": tokens}),
        Answer({"id": "1", "embeddings": {"float": [[3.0, 4.0]]}, "texts": ["a"],
                "meta": {"billed_units": {"input_tokens": 1}}}),
    )  # fmt: skip

    answer = ask(server, "cohere/command-a-03-2025", messages=MESSAGES)
    vector = ask(server, "cohere/embed-v4.0", text="a", params={"normalize": True})

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]["content"] == "Hello"
    assert vector.json()["output"] == pytest.approx([0.6, 0.8])
    assert [each.path for each in provider.asked] == ["/v2/chat", "/v2/embed"]


def test_anthropics_client_asks_any_closed_model(server: Server, provider: LocalProvider) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Paris"}'}}
    provider.answers(Answer(completion("", tool_calls=[call])))
    asked: dict[str, Any] = {
        "model": GPT, "max_tokens": 9, "messages": MESSAGES, "tool_choice": {"type": "any"},
        "tools": [{"name": "look_up", "input_schema": {"type": "object", "properties": {}}}],
    }  # fmt: skip
    with anthropic.Anthropic(
        base_url=server.url, api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        answer = client.messages.create(**asked)

    (block,) = answer.content
    assert block.type == "tool_use"
    assert block.input == {"city": "Paris"}
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2)
    assert provider.asked[0].body["tool_choice"] == "required"
    assert "response_format" not in provider.asked[0].body


def test_openais_responses_ask_closed_models(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("Hello")))
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        answer = client.responses.create(model=GPT, input="Say hello.", instructions="Be brief.", max_output_tokens=16)

    assert answer.output_text == "Hello"
    assert [each["role"] for each in provider.asked[0].body["messages"]] == ["system", "user"]


def test_responses_show_pictures_to_closed_models(server: Server, provider: LocalProvider) -> None:
    provider.answers(Answer(completion("A fox")))
    picture = f"data:image/png;base64,{PNG}"
    parts: Any = [{"type": "input_text", "text": "What is it?"},
                  {"type": "input_image", "image_url": picture, "detail": "auto"}]  # fmt: skip
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        answer = client.responses.create(model=GPT, input=[{"role": "user", "content": parts}])

    assert answer.output_text == "A fox"
    (message,) = provider.asked[0].body["messages"]
    assert message["content"] == [
        {"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": picture}},
    ]  # fmt: skip


def test_an_alias_stands_for_a_closed_model_and_is_what_its_account_calls_it(
    server: Server, provider: LocalProvider
) -> None:
    provider.answers(Answer(completion("Hello")))
    with add_account(server, "renames") as client:
        server.command("aliases", "set", "clever", GPT, "--account", "renames")
        wait_until(lambda: client.get("/v1/models/clever").status_code == 200)
        body = {"model": "clever", "messages": MESSAGES}
        answer = client.post("/v1/chat/completions", json=body, headers={"provider-key": OWN_KEY})
        paid = client.post("/v1/chat/completions", json=body)
        stranger = server.client.post("/v1/chat/completions", json=body, headers={"provider-key": OWN_KEY})

    assert (answer.status_code, answer.json()["model"]) == (200, "clever")
    assert [asked.body["model"] for asked in provider.asked] == ["gpt-4o", "gpt-4o"]
    assert provider.asked[0].headers["authorization"] == f"Bearer {OWN_KEY}"
    assert (float(answer.headers["inference-cost"]), float(paid.headers["inference-cost"]) > 0) == (0.0, True)
    assert (stranger.status_code, stranger.json()["error"]["param"]) == (400, "model")


def test_an_accounts_limits_hold_for_closed_models(server: Server, provider: LocalProvider) -> None:
    """Requests at once of both keys; what is spent in a month of the operator's alone, as the other costs nothing."""
    provider.answers(Answer(completion("Hello")))
    with add_account(server, "limited") as client:
        server.command("accounts", "set", "limited", "--max-concurrent", "0")
        wait_until(lambda: ask_as(client, OWN_KEY).status_code == 429)
        before = len(provider.asked)
        assert "under way at once" in ask_as(client, None).json()["error"]
        assert len(provider.asked) == before

        server.command("accounts", "set", "limited", "--max-concurrent", "none", "--monthly-limit", "0.0000001")
        wait_until(lambda: ask_as(client, None).status_code == 402)


def ask_as(client: httpx.Client, key: str | None) -> httpx.Response:
    """The closed model, with the caller's key or the operator's."""
    headers = {} if key is None else {"provider-key": key}
    return client.post(f"/models/v2/{GPT}", json={"messages": MESSAGES}, headers=headers)


# --- the other tasks ---


def test_texts_vectors_and_prices_of_them(server: Server, provider: LocalProvider) -> None:
    counts = {"prompt_tokens": 1000, "total_tokens": 1000}
    text = {"id": "1", "object": "text_completion", "created": 1, "model": "told",
            "choices": [{"index": 0, "text": " there", "finish_reason": "length", "logprobs": None}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}  # fmt: skip
    vectors = {"object": "list", "model": "told", "usage": counts,
               "data": [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]}  # fmt: skip
    provider.answers(Answer(text), Answer(vectors), Answer(vectors))

    written = ask(server, "openai/gpt-3.5-turbo-instruct", text="Hello", params={"max_new_tokens": 1})
    paid = ask(server, "openai/text-embedding-3-small", key=None, text="a", params={"dimensions": 2})
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        over_openai = client.embeddings.create(model="openai/text-embedding-3-small", input=["a"])

    assert written.json()["output"] == "Hello there"
    assert paid.json()["output"] == [3.0, 4.0]
    assert float(paid.headers["inference-cost"]) == pytest.approx(1000 * 2e-8)
    assert over_openai.data[0].embedding == pytest.approx([0.6, 0.8])
    assert [each.path for each in provider.asked] == ["/completions", "/embeddings", "/embeddings"]
    assert provider.asked[1].body["dimensions"] == 2


def test_images_and_speech(server: Server, provider: LocalProvider) -> None:
    sound = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24
    provider.answers(
        Answer({"created": 1, "data": [{"b64_json": PNG}]}), Answer(sound, content_type="audio/wav"),
    )  # fmt: skip

    image = ask(server, "openai/gpt-image-1", text="a fox", json=False, params={"width": 1024, "height": 1024})
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, default_headers={"provider-key": OWN_KEY}
    ) as client:
        spoken = client.audio.speech.create(model="openai/tts-1", input="Hi", voice="nova", response_format="wav")

    assert image.status_code == 200, image.text
    assert image.content == base64.b64decode(PNG)
    assert image.headers["content-type"] == "image/png"
    assert spoken.content == sound
    drawn, said = provider.asked
    assert (drawn.path, drawn.body["size"]) == ("/images/generations", "1024x1024")
    assert (said.path, said.body["voice"], said.body["response_format"]) == ("/audio/speech", "nova", "wav")


def test_transcriptions_are_paid_for_by_the_second(server: Server, provider: LocalProvider) -> None:
    sound = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24
    told = {"text": "Hello", "duration": 2.0, "language": "english", "task": "transcribe",
            "segments": [{"id": 0, "start": 0.0, "end": 2.0, "text": "Hello"}]}  # fmt: skip
    provider.answers(Answer(told))
    body = {"base64": base64.b64encode(sound).decode(), "params": {"return_timestamps": True, "language": "en"}}

    answer = ask(server, "openai/whisper-1", key=None, **body)

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == {"text": "Hello", "chunks": [{"timestamp": [0.0, 2.0], "text": "Hello"}]}
    assert float(answer.headers["inference-cost"]) == pytest.approx(2 * 0.0001)
    assert provider.asked[0].path == "/audio/transcriptions"
    assert b"verbose_json" in provider.asked[0].body


def test_closed_models_are_listed_as_such(server: Server) -> None:
    def listed() -> Any:
        return server.client.get("/models/v2/list/models", params={"modelId": GPT}).json()["output"]

    (row,) = wait_until(listed)
    page = server.client.get("/models/v2/list/models", params={"task": "chat", "search": "anthropic/"}).json()["output"]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S) as client:
        told = client.models.retrieve(GPT)

    assert (row["source"], row["provider"], row["meter"], row["task"]) == ("provider", "openai", "tokens", "chat")
    assert row["contextLength"] == 128_000
    assert row["prices"]["newToken"] == pytest.approx(1e-5)
    assert {each["source"] for each in page} == {"provider"}
    assert told.context_length == 128_000  # type: ignore[attr-defined]


def test_the_hosted_services_client_reads_what_the_provider_has_answered(
    server: Server, provider: LocalProvider
) -> None:
    provider.answers(Answer(completion("Hello")))
    folder = installed("bytez-3.0.1")
    program = (
        "import json, sys\nfrom bytez import Bytez\n"
        "client = Bytez(sys.argv[1], dev=True)\n"
        "client._client.host = sys.argv[2]\n"
        "answer = client.model(sys.argv[3], sys.argv[4]).run([{'role': 'user', 'content': 'Hi'}])\n"
        "print(json.dumps([answer.output, answer.error, answer.provider]))\n"
    )
    arguments = [KEY, f"{server.url}/models/v2/", GPT, OWN_KEY]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environ, capture_output=True, text=True, check=True
    )

    output, error, raw = json.loads(done.stdout)
    assert (output["content"], error) == ("Hello", None)
    assert raw["choices"][0]["message"]["content"] == "Hello"


def test_open_requests_fail_loudly_when_the_process_dies_and_what_had_come_is_paid_for(
    server: Server, provider: LocalProvider
) -> None:
    killed = threading.Event()
    process: psutil.Process

    def stream_or_kill(asked: Asked) -> Answer:
        if asked.body.get("stream"):
            half = chunks(["Hel", "lo"], ends=False)
            return Answer(half, content_type="text/event-stream", breaks=True, until=killed)
        process.kill()
        return Answer(completion("too late"))

    provider.answers(Answer(completion("Hello")))
    assert ask(server, GPT, messages=MESSAGES).status_code == 200
    process = provider_process(server)
    provider.say = stream_or_kill
    body = {"messages": MESSAGES, "stream": True}
    with server.client.stream("POST", f"/models/v2/{GPT}", json=body) as streamed:
        pieces = streamed.iter_text()
        text = ""
        while text != "Hello":
            text += next(pieces)
        failed = ask(server, GPT, messages=MESSAGES)
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    killed.set()
    provider.answers(Answer(completion("Hello")))
    answered = ask(server, GPT, messages=MESSAGES)

    assert failed.status_code == 502, failed.text
    assert answered.json()["output"]["content"] == "Hello"
    assert usage_of(server, streamed)["costNano"] >= 2 * GPT_NANO["new"]


def test_keys_are_nowhere(server: Server, provider: LocalProvider, tmp_path: Path) -> None:
    """After all the others have sent theirs."""
    provider.answers(Answer({"error": {"message": f"Incorrect API key provided: {OWN_KEY}"}}, 401))
    refused = ask(server, GPT, messages=MESSAGES)
    streamed = ask(server, GPT, messages=MESSAGES, stream=True)
    body = {"model": GPT, "messages": MESSAGES}
    over_openai = server.client.post("/v1/chat/completions", json=body, headers={"provider-key": OWN_KEY})
    shown = server.client.get("/models/v2/list/models", params={"modelId": GPT}).text

    texts = [refused.text, streamed.text, over_openai.text, shown, server.log.read_text()]
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert any(path.name.startswith("modelyard.db") for path in files)
    for key in (OWN_KEY, OPERATORS_KEY):
        assert not any(key in text for text in texts)
        assert [path for path in files if key.encode() in path.read_bytes()] == []
    assert json.loads(refused.text)["error"]


def test_the_process_ends_with_the_server_that_is_killed(server: Server, provider: LocalProvider) -> None:
    """The last in this file."""
    provider.answers(Answer(completion("Hello")))
    assert ask(server, GPT, messages=MESSAGES).status_code == 200
    process = provider_process(server)

    server.kill()

    wait_until(lambda: not is_alive(process))
