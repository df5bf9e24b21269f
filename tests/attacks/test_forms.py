"""Forms, functions and settings of texts that a stranger wrote: refused in a sentence, and the replica lives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.attacks.registry import attack
from tests.serving import KEY, Server, wait_until

WRITES, CHATS = "tiny/gpt2", "tiny/chat"
COMPLETIONS = "/v1/chat/completions"
LONG = "m" * 1_000_000
MOST_ANSWER_BYTES = 5_000


def tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **function}}


def form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def called(arguments: str) -> list[dict[str, Any]]:
    """A conversation in which a function was called with these arguments."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "b"},
    ]


CHAIN = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(2_500)}
REFUSED_CHATS: Mapping[str, dict[str, Any]] = {
    "references": form({"$defs": CHAIN, "$ref": "#/$defs/a0"}),
    "multiples": form({"type": "integer", "multipleOf": 123_456_789}),
    "nothing but itself": form({"$ref": "#"}),
    "depth": form({"items": json.loads('{"items":' * 70 + "{}" + "}" * 70)}),
    "many functions": {"tools": [tool(f"f{n}") for n in range(10_000)], "tool_choice": "required"},
    "some functions": {"tools": [tool(f"f{n}") for n in range(1_000)], "tool_choice": "required"},
    "a long name": {"tools": [tool(LONG)], "tool_choice": "required"},
    "a description": {"tools": [tool("f", description="{% for a in range(10**9) %}{% endfor %}" * 100)]},
    "a bias of a long id": {"logit_bias": {"1" * 5_000: 1}},
    "biases": {"logit_bias": {str(n): 1 for n in range(10_000)}},
    "places": {"logprobs": True, "top_logprobs": 10**9},
    "choices": {"n": 1_000},
    "stops": {"stop": ["a"] * 10_000},
    "a variable's name": {"chat_template_kwargs": {LONG: 1}},
    "an effort": {"reasoning_effort": LONG},
}
TAKEN_CHATS: Mapping[str, dict[str, Any]] = {
    "control characters in a name": {"tools": [tool("a\0\x1b[31m\n\"'}{%}")], "tool_choice": "required"},
    "the same names": {"tools": [tool("f")] * 3, "tool_choice": "required"},
    "long stops": {"stop": [LONG, LONG + "a"]},
    "arguments without an end": {"messages": called("[" * 100_000)},
    "a long number of arguments": {"messages": called("1" * 5_000)},
}
REFUSED_TEXTS: Mapping[str, dict[str, Any]] = {
    "rules": {"grammar": "root ::= a0\n" + "".join(f"a{n} ::= a{n + 1}\n" for n in range(4_000)) + 'a4000 ::= "x"'},
    "many items": {"grammar": "root ::= " + " ".join(["[a-c]*"] * 5_000)},
    "optional characters": {"regex": "[ab]?" * 19_000},
    "an open expression": {"regex": "a\\"},
    "a look ahead": {"regex": "(?=a)b"},
    "another notation": {"grammar": '%llguidance {}\nstart: %json {"multipleOf": 123456789}'},
}


def ask(server: Server, more: Mapping[str, Any], *, stream: bool = False) -> httpx.Response:
    body = {"model": CHATS, "messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "stream": stream, **more}
    return server.client.post(COMPLETIONS, json=body)


def write(server: Server, params: Mapping[str, Any]) -> httpx.Response:
    return server.post(WRITES, text="a", params={"max_new_tokens": 4, **params})


@attack
def send_hostile_forms(server: Server) -> list[tuple[str, httpx.Response]]:
    chats = [(name, ask(server, more)) for name, more in REFUSED_CHATS.items()]
    streams = [(name, ask(server, more, stream=True)) for name, more in list(REFUSED_CHATS.items())[:3]]
    return chats + streams + [(name, write(server, params)) for name, params in REFUSED_TEXTS.items()]


@attack
def leave_held_streams(server: Server) -> None:
    """Clients that want long texts of a form, and go: some at once, some after the first piece."""
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 100_000}
    held = {"model": CHATS, "messages": [{"role": "user", "content": "a"}], "stream": True, **form(schema)}
    for reads in (False, True) * 3:
        with opened(server, held) as connection:
            assert not reads or connection.recv(100).startswith(b"HTTP/1.1 200")
    wait_until(lambda: server.load() == (0, 0))


def opened(server: Server, body: Mapping[str, Any]) -> socket.socket:
    """A connection over which a completion was asked for."""
    raw = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: a\r\nauthorization: Key {KEY}\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
    return connection


@pytest.fixture
def workers(server: Server) -> Iterator[set[int]]:
    """The replicas of both models, which are the same ones at the end."""
    assert ask(server, {}).status_code == 200
    assert write(server, {}).status_code == 200
    for model in (WRITES, CHATS):
        # Neither is to idle out or be evicted by what other tests load meanwhile.
        server.client.put(f"/models/v2/{model}", json={"capacity": {"min": 1}})
    before = set(server.worker_pids())
    yield before
    assert ask(server, {}).status_code == 200
    assert write(server, {}).status_code == 200
    assert before <= set(server.worker_pids())
    for model in (WRITES, CHATS):
        server.delete(model)


@pytest.mark.usefixtures("workers")
def test_hostile_forms_and_settings_are_refused_in_a_sentence(server: Server) -> None:
    for name, answer in send_hostile_forms(server):
        assert 400 <= answer.status_code < 500, (name, answer.text[:500])
        assert len(answer.content) < MOST_ANSWER_BYTES, (name, answer.text[:500])
        assert "<state>" not in answer.text, (name, answer.text[:500])


@pytest.mark.usefixtures("workers")
def test_what_looks_hostile_and_is_not_is_answered(server: Server) -> None:
    for name, more in TAKEN_CHATS.items():
        answer = ask(server, more)
        assert answer.status_code == 200, (name, answer.text[:500])


@pytest.mark.usefixtures("workers")
def test_clients_that_leave_texts_of_a_form_leave_nothing_behind(server: Server) -> None:
    leave_held_streams(server)
