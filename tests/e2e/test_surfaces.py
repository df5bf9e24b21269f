"""The real SmolLM2 through every surface that chats, by its own client: the same text, streamed and not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient

from tests.builders import real
from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server, wait_until

anthropic = Later("anthropic")
openai = Later("openai")

GGUF = "someone/SmolLM2-135M-Instruct-GGUF"
ALIAS = "acme/assistant"
"""Of the first of the two."""
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
MOST = 24
in_verify = pytest.mark.verify(part="variants")


@pytest.fixture(scope="module")
def server(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the model in 4 bits; with torch, as soon as a test has it made."""
    models = tmp_path_factory.mktemp("surfaces")
    (models / GGUF).mkdir(parents=True)
    shutil.copy(real.smollm2_gguf(), models / GGUF)
    (models / real.SMOLLM2).parent.mkdir()
    with shared_server.with_models(models) as running:
        yield running


def question(model: str) -> list[Any]:
    """What is asked: in 4 bits the model needs to be told how to answer."""
    return [{"role": "user", "content": f"{QUESTION} Answer in one sentence." if model in (GGUF, ALIAS) else QUESTION}]


def over_v2(server: Server, model: str) -> tuple[str, str]:
    body = {"messages": question(model), "params": {"max_new_tokens": MOST, "do_sample": False}}
    with server.client.stream("POST", f"/models/v2/{model}", json={**body, "stream": True}) as told:
        pieces = "".join(told.iter_text())
    return str(server.run(model, **body)["content"]), pieces


def over_openai(server: Server, model: str) -> tuple[str, str]:
    asked: dict[str, Any] = {"model": model, "messages": question(model), "max_tokens": MOST, "temperature": 0}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S) as client:
        whole = client.chat.completions.create(**asked).choices[0]
        pieces = [
            chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)
        ]
    assert whole.finish_reason == "stop"
    return str(whole.message.content), "".join(pieces)


def over_huggingface(server: Server, model: str) -> tuple[str, str]:
    client = InferenceClient(model=f"{server.url}/hf/{model}", token=KEY, timeout=REQUEST_S)
    whole = client.chat_completion(question(model), max_tokens=MOST, temperature=0.0).choices[0].message.content
    chunks = client.chat_completion(question(model), max_tokens=MOST, temperature=0.0, stream=True)
    return str(whole), "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def over_anthropic(server: Server, model: str) -> tuple[str, str]:
    asked: dict[str, Any] = {
        "model": model,
        "messages": question(model),
        "max_tokens": MOST,
        "extra_body": {"temperature": 0},
    }
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            pieces = "".join(stream.text_stream)
    assert whole.stop_reason == "end_turn"
    (block,) = whole.content
    assert block.type == "text"
    return block.text, pieces


def over_completions(server: Server, model: str) -> tuple[str, str]:
    """The template by hand: what chat makes of the question."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    prompt = (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question(model)[0]['content']}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    asked: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": MOST, "temperature": 0}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S) as client:
        whole = client.completions.create(**asked).choices[0].text
        pieces = [chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True)]
    return whole, "".join(pieces)


SURFACES = [over_v2, over_openai, over_huggingface, over_anthropic, over_completions]


@pytest.mark.parametrize("ask", SURFACES)
def test_the_capital_of_france_is_told_over_every_surface(
    server: Server, ask: Callable[[Server, str], tuple[str, str]]
) -> None:
    assert ask(server, GGUF) == (ANSWER, ANSWER)


PLACE = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"],
         "additionalProperties": False}  # fmt: skip
CAPITAL = {"type": "object", "properties": {"of_france": {"$ref": "#/$defs/Place"}}, "required": ["of_france"],
           "additionalProperties": False, "$defs": {"Place": PLACE}}  # fmt: skip


def test_a_function_is_called_where_it_has_to_be_though_the_template_knows_none(server: Server) -> None:
    """Its arguments refer to a definition of their own."""
    told, name = {"of_france": {"city": "Paris"}}, "tell_capital"
    function: Any = {"name": name, "description": "Tells capitals.", "parameters": CAPITAL}
    named: Any = {"type": "function", "function": {"name": name}}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S) as client:
        (choice,) = client.chat.completions.create(
            model=GGUF, messages=question(GGUF), tools=[{"type": "function", "function": function}],
            tool_choice=named, max_tokens=80, temperature=0,
        ).choices  # fmt: skip
    (call,) = choice.message.tool_calls or ()
    assert (call.function.name, json.loads(call.function.arguments)) == (name, told)  # type: ignore[union-attr]
    tool: Any = {"name": name, "description": "Tells capitals.", "input_schema": CAPITAL}
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S) as other:
        answer = other.messages.create(
            model=GGUF, messages=question(GGUF), tools=[tool], tool_choice={"type": "any", "disable_parallel_tool_use":
            True}, max_tokens=80, extra_body={"temperature": 0},
        )  # fmt: skip
    (block,) = answer.content
    assert block.type == "tool_use"
    assert (block.name, block.input, answer.stop_reason) == (name, told, "tool_use")


@in_verify
@pytest.mark.parametrize("ask", SURFACES)
def test_torch_tells_the_same(server: Server, ask: Callable[[Server, str], tuple[str, str]]) -> None:
    folder: Path = server.models_dir / real.SMOLLM2
    if not folder.exists():
        shutil.copytree(real.smollm2(), folder)
    assert ask(server, real.SMOLLM2) == (ANSWER, ANSWER)


@pytest.mark.parametrize("ask", [pytest.param(ask, marks=() if ask is over_openai else in_verify) for ask in SURFACES])
def test_a_name_of_the_operators_choice_tells_the_same(
    server: Server, ask: Callable[[Server, str], tuple[str, str]]
) -> None:
    """That every surface knows such names, tests/gateway/test_aliases.py says."""
    server.command("aliases", "set", ALIAS, GGUF)
    wait_until(lambda: server.client.get(f"/v1/models/{ALIAS}").status_code == 200)
    assert ask(server, ALIAS) == (ANSWER, ANSWER)
