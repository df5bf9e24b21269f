"""The paths of Hugging Face's servers of texts and of vectors, and what their own client makes of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import ValidationError

from tests.serving import KEY, REQUEST_S, Server

GREEDY = {"max_new_tokens": 12, "do_sample": False}
PROMPT = "the cat"


@pytest.fixture
def ask(server: Server) -> Any:
    """(model, path below it, body) → the answer, which must be one."""

    def post(model: str, path: str, body: dict[str, Any], status: int = 200) -> Any:
        told = server.client.post(f"/hf/{model}{path}", json=body)
        assert told.status_code == status, told.text
        return told.json()

    return post


def client_of(server: Server, model: str) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/hf/{model}", token=KEY, timeout=REQUEST_S)


def continued(server: Server, model: str = "tiny/gpt2") -> str:
    """What v2 puts behind the prompt."""
    if model == "tiny/chat":
        params = {**GREEDY, "use_template": False}
        return str(server.run(model, text=PROMPT, params=params)["content"])
    return str(server.run(model, text=PROMPT, params=GREEDY)).removeprefix(PROMPT)


@pytest.mark.parametrize("model", ["tiny/gpt2", "tiny/chat"])
def test_the_client_has_a_text_continued_at_once_and_in_pieces(server: Server, model: str) -> None:
    client = client_of(server, model)
    whole = client.text_generation(PROMPT, **GREEDY)
    pieces = list(client.text_generation(PROMPT, **GREEDY, stream=True))

    assert whole == "".join(pieces) == continued(server, model)
    assert len(pieces) > 3
    assert client.text_generation(PROMPT, **GREEDY, return_full_text=True) == PROMPT + continued(server, model)


@pytest.mark.parametrize("model", ["tiny/gpt2", "tiny/chat"])
def test_the_client_is_told_how_a_text_was_made(server: Server, model: str) -> None:
    client = client_of(server, model)
    whole = client.text_generation(PROMPT, **GREEDY, details=True)
    *_, last = client.text_generation(PROMPT, **GREEDY, details=True, stream=True)

    assert whole.details is not None
    assert (whole.details.finish_reason, whole.details.generated_tokens) == ("length", 12)
    assert last.details is not None
    assert (last.details.finish_reason, last.details.generated_tokens) == ("length", 12)
    assert (last.generated_text, last.token.text) == (continued(server, model), "")


def test_the_client_raises_what_is_wrong_by_its_own_class(server: Server) -> None:
    for stream in (False, True):
        with pytest.raises(ValidationError, match="tokens"):
            list(client_of(server, "tiny/gpt2").text_generation("the cat " * 500, stream=stream))


def test_generate_answers_an_object_and_events(server: Server, ask: Any) -> None:
    body = {"inputs": PROMPT, "parameters": {**GREEDY, "details": True, "watermark": False}}
    whole = ask("tiny/gpt2", "/generate", body)
    told = server.client.post("/hf/tiny/gpt2/generate_stream", json=body)

    assert whole["generated_text"] == continued(server)
    assert whole["details"]["input_length"] > 0
    events = [json.loads(each.removeprefix("data: ")) for each in told.text.split("\n\n") if each]
    assert [each["index"] for each in events] == list(range(1, len(events) + 1))
    assert "".join(each["token"]["text"] for each in events) == events[-1]["generated_text"] == continued(server)
    assert ask("tiny/t5", "/generate", body)["generated_text"] == server.run("tiny/t5", text=PROMPT, params=GREEDY)


@pytest.mark.parametrize(
    ("model", "path", "body", "words"),
    [
        ("tiny/gpt2", "/generate", {"inputs": PROMPT, "parameters": {"grammar": {"type": "json"}}}, "grammar"),
        ("tiny/gpt2", "/generate", {"inputs": PROMPT, "parameters": {"best_of": 2}}, "best_of"),
        ("tiny/gpt2", "/generate", {"inputs": PROMPT, "parameters": [1]}, "an object"),
        ("tiny/gpt2", "", {"inputs": PROMPT, "parameters": {"colour": 1}}, "colour"),
        ("tiny/gpt2", "", {"inputs": 5}, "inputs"),
        ("tiny/gpt2", "", {"inputs": PROMPT, "stream": "yes"}, "stream"),
        ("tiny/encoder", "/generate", {"inputs": PROMPT}, "text-generation"),
        ("tiny/gpt2", "/embed", {"inputs": PROMPT}, "feature-extraction"),
        ("tiny/encoder", "/embed", {"inputs": PROMPT, "colour": 1}, "no such field"),
        ("tiny/encoder", "/embed", {"inputs": []}, "1 to 1024"),
        ("tiny/encoder", "/embed", {"inputs": "a cat " * 500}, "tokens"),
        ("tiny/classifier", "/predict", {"inputs": ["a", "b", "c"]}, "inputs"),
        ("tiny/ranker", "/rerank", {"query": "", "texts": ["a"]}, "query"),
        (
            "tiny/ranker",
            "/rerank",
            {"query": "a", "texts": ["a"], "truncation_direction": "Left"},
            "truncation_direction",
        ),
    ],
)
def test_what_is_wrong_is_named(ask: Any, model: str, path: str, body: dict[str, Any], words: str) -> None:
    told = ask(model, path, body, 422)

    assert words in told["error"]
    assert told["error_type"] == "validation"


def test_embed_answers_a_list_of_vectors_of_length_1(server: Server, ask: Any) -> None:
    texts = ["a cat", "a dog"]
    expected = server.run("tiny/sentences", text=texts, params={"normalize": True})

    assert ask("tiny/sentences", "/embed", {"inputs": texts}) == expected
    assert ask("tiny/sentences", "/embed", {"inputs": texts[0]}) == [expected[0]]
    plain = ask("tiny/sentences", "/embed", {"inputs": texts, "normalize": False, "truncate": True})
    assert plain == server.run("tiny/sentences", text=texts, params={"normalize": False})
    assert len(ask("tiny/sentences", "/embed", {"inputs": texts[0], "dimensions": 5})[0]) == 5


def test_the_client_embeds_and_compares(server: Server) -> None:
    client = client_of(server, "tiny/sentences")
    vector = client.feature_extraction("a cat", normalize=True)
    assert np.allclose(vector, server.run("tiny/sentences", text="a cat", params={"normalize": True}), atol=1e-6)
    assert client.sentence_similarity("a cat", other_sentences=["a cat", "a dog"])[0] == pytest.approx(1)


def test_rerank_and_predict(server: Server, ask: Any) -> None:
    texts = ["7", "a cat on a mat"]
    asked = {"query": "a cat", "texts": texts, "return_text": True, "truncation_direction": "Right"}
    ranked = ask("tiny/ranker", "/rerank", asked)
    expected = server.run("tiny/ranker", query="a cat", documents=texts, params={"return_documents": True})
    assert ranked == expected
    assert ask("tiny/ranker", "/rerank", {**asked, "top_n": 1}) == expected[:1]

    labels = server.run("tiny/classifier", text="a cat")
    assert ask("tiny/classifier", "/predict", {"inputs": "a cat"}) == labels
    assert ask("tiny/classifier", "/predict", {"inputs": [["a cat"]]}) == [labels]
    pair = server.run("tiny/classifier", text="a cat", text_pair="7")
    assert ask("tiny/classifier", "/predict", {"inputs": ["a cat", "7"]}) == pair
    assert ask("tiny/classifier", "/predict", {"inputs": [["a cat", "7"]]}) == [pair]
    raw = server.run("tiny/classifier", text="a cat", params={"function_to_apply": "none"})
    assert ask("tiny/classifier", "/predict", {"inputs": "a cat", "raw_scores": True}) == raw


def test_the_client_chats_below_the_models_own_path(server: Server) -> None:
    client = client_of(server, "tiny/chat")
    messages = [{"role": "user", "content": "hello"}]
    expected = server.run("tiny/chat", messages=messages, params=GREEDY)["content"]
    whole = client.chat_completion(messages, max_tokens=12, temperature=0.0)
    pieces = client.chat_completion(messages, max_tokens=12, temperature=0.0, stream=True)

    assert whole.choices[0].message.content == expected
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == expected


def test_the_client_has_functions_called_and_a_form_kept(server: Server) -> None:
    client = client_of(server, "tiny/chat")
    messages = [{"role": "user", "content": "hello"}]
    schema = {"type": "object", "properties": {"mood": {"enum": ["glad", "sad"]}}, "required": ["mood"],
              "additionalProperties": False}  # fmt: skip
    form: Any = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    tools: list[Any] = [{"type": "function", "function": {"name": "tell", "parameters": schema}}]
    choice: Any = {"function": {"name": "tell"}}

    said = client.chat_completion(messages, max_tokens=100, response_format=form).choices[0].message.content
    assert json.loads(str(said))["mood"] in ("glad", "sad")
    called = client.chat_completion(messages, max_tokens=100, tools=tools, tool_choice=choice).choices[0].message
    assert called.tool_calls
    assert called.tool_calls[0].function.name == "tell"
    assert json.loads(called.tool_calls[0].function.arguments)["mood"] in ("glad", "sad")
