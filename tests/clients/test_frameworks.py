"""LiteLLM, LangChain and Instructor, unmodified: they call the server in one process, and each in one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.programs import run_with_frameworks
from tests.serving import REQUEST_S, Server
from tests.serving.scripted import scripted_model

LITELLM, LANGCHAIN, INSTRUCTOR = "litellm_client.py", "langchain_client.py", "instructor_client.py"
TOGETHER = "frameworks_client.py"
PROVIDERS = ("openai", "anthropic", "huggingface")
CLASSES = ("openai", "huggingface")
GREEDY = {"max_new_tokens": 12, "do_sample": False}
HELLO = {"role": "user", "content": "hello"}
CALL = ["<tool_call>", '{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"', "}}", "</tool_call>"]
CALLED = ["Let me look.", "get_weather", {"city": "Paris"}, "tool_calls"]
PLACE = {"city": "Paris", "warm": True}


@pytest.fixture(scope="module", autouse=True)
def scripted(dev_server: Server) -> Iterator[None]:
    """A model that calls a function and answers when it is told what it says, and one that writes an object."""
    says, writes = ["Let me look.", *CALL], ['{"city": ', '"Paris", ', '"warm": ', "true}"]
    with (
        scripted_model(dev_server, "scripted/agent", says, mark="<tool_call>", then=["It is ", "warm."]),
        scripted_model(dev_server, "scripted/json", writes),
    ):
        yield


def said(server: Server, *messages: Any) -> str:
    """What v2 answers."""
    return str(server.run("tiny/chat", messages=[*messages, HELLO], params=GREEDY)["content"])


@pytest.fixture(scope="module")
def together(dev_server: Server, scripted: None) -> Any:
    """What each library was told when all three asked in one process."""
    cases = {
        LITELLM: [f"{case} {provider}" for case in ("chat", "stream", "later") for provider in (*PROVIDERS, "bytez")],
        LANGCHAIN: ["chat openai", "tools openai"],
        INSTRUCTOR: ["made TOOLS", "made JSON_SCHEMA"],
    }
    return run_with_frameworks(TOGETHER, dev_server.url, cases)


def test_litellm_chats_by_every_provider(dev_server: Server, together: Any) -> None:
    """Its provider for the hosted service counts tokens itself."""
    told = together[LITELLM]
    text = said(dev_server)

    assert {told[f"stream {provider}"] for provider in (*PROVIDERS, "bytez")} == {text}
    shown = [told[f"chat {provider}"] for provider in PROVIDERS]
    assert shown[0][:2] == [text, "length"]
    assert shown[0][2] > 0
    assert shown[0][3] == 12
    assert shown == [shown[0]] * len(PROVIDERS)
    assert told["chat bytez"][0] == text
    assert [told[f"later {provider}"] for provider in (*PROVIDERS, "bytez")] == [[text, text]] * 4


def test_langchain_and_instructor_ask_openais_way(dev_server: Server, together: Any) -> None:
    told = together[LANGCHAIN]
    text = said(dev_server, {"role": "system", "content": "be brief"})
    assert told["chat openai"][:3] == [text] * 3
    assert told["tools openai"] == [["Let me look.", [["get_weather", {"city": "Paris"}]]]] * 2 + ["It is warm."]

    made = together[INSTRUCTOR]
    assert {each["city"] for each in made.values()} <= {"Paris", "Rome"}


@pytest.mark.verify(part="clients")
def test_litellm_calls_functions_and_keeps_forms(dev_server: Server) -> None:
    cases = [f"{case} {provider}" for case in ("tools", "forced", "form") for provider in PROVIDERS]
    told = run_with_frameworks(LITELLM, dev_server.url, cases)
    for provider in PROVIDERS:
        assert told[f"tools {provider}"] == [CALLED, CALLED, "It is warm.", "stop"]
        for case in ("forced", "form"):
            assert told[f"{case} {provider}"]["city"] in ("Paris", "Rome"), (case, provider)


@pytest.mark.verify(part="clients")
def test_litellm_has_vectors_rankings_and_media(dev_server: Server) -> None:
    told = run_with_frameworks(LITELLM, dev_server.url, ["vectors", "rankings", "media"])
    by_openai, by_huggingface = told["vectors"]
    texts = ["a cat", "a dog"]
    assert by_openai == dev_server.run("tiny/sentences", text=texts, params={"normalize": True})
    assert by_huggingface == dev_server.run("tiny/sentences", text=texts)
    best = dev_server.run("tiny/ranker", query="a cat", documents=["7", "a cat on a mat"])[0]["index"]
    assert told["rankings"] == [[best]] * 3
    text, image, sound, _ = told["media"]
    whole = dev_server.run("tiny/gpt2", text="hello", params={"max_new_tokens": 5, "do_sample": False})
    assert (f"hello{text}", sound) == (whole, "RIFF")
    assert httpx.get(image, timeout=REQUEST_S).content.startswith(b"\x89PNG")


@pytest.mark.verify(part="clients")
def test_litellm_raises_by_its_own_classes(dev_server: Server) -> None:
    assert run_with_frameworks(LITELLM, dev_server.url, ["errors"])["errors"] == {
        "model": "NotFoundError",
        "key": "AuthenticationError",
        "field": "BadRequestError",
        "length": "ContextWindowExceededError",
        "hosted": "NotFoundError",
    }


@pytest.mark.verify(part="clients")
def test_langchains_classes_for_either_api(dev_server: Server) -> None:
    cases = [f"{case} {which}" for case in ("chat", "tools", "forced", "form") for which in CLASSES]
    told = run_with_frameworks(LANGCHAIN, dev_server.url, [*cases, "texts", "vectors"])
    text = said(dev_server, {"role": "system", "content": "be brief"})
    for which in CLASSES:
        *answers, read, made = told[f"chat {which}"]
        assert (answers, made) == ([text] * 3, 12)
        assert read > 0
        first, streamed, last = told[f"tools {which}"]
        assert first == streamed == ["Let me look.", [["get_weather", {"city": "Paris"}]]]
        assert last == "It is warm."
        assert {told[f"forced {which}"], *told[f"form {which}"]} <= {"Paris", "Rome"}

    whole = dev_server.run("tiny/gpt2", text="hello", params={"max_new_tokens": 8, "do_sample": False})
    assert told["texts"] == [[whole.removeprefix("hello")] * 2] * 2
    documents, queries, others, lengths = told["vectors"]
    assert documents == queries == dev_server.run("tiny/sentences", text=["a cat", "a dog"], params={"normalize": True})
    assert others == dev_server.run("tiny/sentences", text=["a cat", "a dog"])
    assert lengths == [8, 8]


@pytest.mark.verify(part="clients")
def test_instructor_makes_objects_in_every_mode(dev_server: Server) -> None:
    held = ["made TOOLS", "made TOOLS_STRICT", "made JSON_SCHEMA", "later", "litellm", "anthropics ANTHROPIC_TOOLS"]
    free = ["written JSON", "written MD_JSON", "anthropics ANTHROPIC_JSON"]
    growing = ["growing TOOLS", "growing JSON_SCHEMA"]
    made = run_with_frameworks(INSTRUCTOR, dev_server.url, [*held, *free, *growing, "nested"])

    assert {made[name]["city"] for name in held} <= {"Paris", "Rome"}
    assert [made[name] for name in free] == [PLACE] * len(free)
    assert {made[name][0]["city"] for name in growing} <= {"Paris", "Rome"}
    assert [made[name][1] for name in growing] == [True] * len(growing)
    assert made["nested"] == [True, True]
