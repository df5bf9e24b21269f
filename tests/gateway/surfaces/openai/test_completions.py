"""`/v1/completions`, by OpenAI's own client: one text and several, echo, events, models that chat."""

from __future__ import annotations

from typing import Any

import pytest

from tests.later import Later
from tests.serving import Server

openai = Later("openai")

MODELS = ("tiny/gpt2", "tiny/chat")
PROMPT = "the cat"
SETTINGS: dict[str, Any] = {"temperature": 0, "max_tokens": 12}
GREEDY = {"do_sample": False, "max_new_tokens": 12}


def continued(server: Server, prompt: str = PROMPT) -> str:
    """What v2 puts behind the prompt."""
    whole = str(server.run("tiny/gpt2", text=prompt, params=GREEDY))
    return whole.removeprefix(prompt)


def test_a_text_is_continued_without_itself_or_with_it(server: Server, client: openai.OpenAI) -> None:
    plain = client.completions.create(model=MODELS[0], prompt=PROMPT, **SETTINGS)
    echoed = client.completions.create(model=MODELS[0], prompt=PROMPT, echo=True, **SETTINGS)

    assert (plain.choices[0].text, plain.choices[0].finish_reason) == (continued(server), "length")
    assert echoed.choices[0].text == PROMPT + continued(server)
    assert plain.id.startswith("cmpl-")
    assert (plain.object, plain.model) == ("text_completion", MODELS[0])
    assert plain.usage is not None
    assert (plain.usage.completion_tokens, plain.usage.total_tokens) == (12, plain.usage.prompt_tokens + 12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("echo", [False, True])
def test_events_put_together_are_the_answer(client: openai.OpenAI, model: str, echo: bool) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": PROMPT, "echo": echo, **SETTINGS}
    whole = client.completions.create(**asked)
    *chunks, last = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})

    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert len(chunks) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, whole.choices[0].finish_reason]
    assert (last.choices, last.usage) == ([], whole.usage)
    assert len({chunk.id for chunk in (*chunks, last)}) == 1


def test_a_model_that_chats_continues_the_text_as_it_stands(server: Server, client: openai.OpenAI) -> None:
    """Its template would make other, longer prompts of it."""
    bare = client.completions.create(model="tiny/chat", prompt=PROMPT, **SETTINGS)
    talked = client.chat.completions.create(
        model="tiny/chat", messages=[{"role": "user", "content": PROMPT}], **SETTINGS
    )
    assert bare.usage is not None
    assert talked.usage is not None
    assert bare.usage.prompt_tokens < talked.usage.prompt_tokens
    params = {**GREEDY, "use_template": False}
    assert bare.choices[0].text == server.run("tiny/chat", text=PROMPT, params=params)["content"]


def test_several_texts_and_several_continuations_of_each(server: Server, client: openai.OpenAI) -> None:
    prompts = ["the cat", "a dog"]
    greedy = client.completions.create(model=MODELS[0], prompt=prompts, **SETTINGS)
    assert [choice.text for choice in greedy.choices] == [continued(server, prompt) for prompt in prompts]

    asked: dict[str, Any] = {"model": MODELS[0], "prompt": prompts, "n": 2, "seed": 3, "max_tokens": 6, "echo": True}
    drawn = client.completions.create(**asked)
    assert [choice.index for choice in drawn.choices] == [0, 1, 2, 3]
    assert [choice.text.startswith(prompts[at // 2]) for at, choice in enumerate(drawn.choices)] == [True] * 4
    streamed = ["", "", "", ""]
    for chunk in client.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in drawn.choices]


@pytest.mark.parametrize(
    ("wrong", "param", "words"),
    [
        ({"prompt": [1, 2, 3]}, "prompt", "ids of tokens are not taken"),
        ({"prompt": []}, "prompt", "1 to 1024"),
        ({"logprobs": 21}, "logprobs", "0 to 20"),
        ({"suffix": "end"}, "suffix", "does not do more"),
        ({"best_of": 4}, "best_of", "1"),
        ({"model": "tiny/classifier"}, "model", "text-generation"),
        ({"model": "tiny/chat", "prompt": ["a", "b"]}, "prompt", "one, of a model that chats"),
        ({"prompt": "the cat " * 200}, "prompt", "tokens"),
    ],
)
def test_what_is_wrong_is_named(server: Server, wrong: dict[str, Any], param: str, words: str) -> None:
    told = server.client.post("/v1/completions", json={"model": MODELS[0], "prompt": PROMPT, **wrong})

    assert told.status_code == 400, told.text
    assert told.json()["error"]["param"] == param
    assert words in told.json()["error"]["message"]
