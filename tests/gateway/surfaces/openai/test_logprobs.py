"""How likely tokens were, and what changes it, by OpenAI's own client."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.later import Later

openai = Later("openai")

MODEL = "tiny/chat"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "temperature": 0}


def test_each_token_has_its_likelihood_and_the_likeliest_beside_it(client: openai.OpenAI) -> None:
    (choice,) = client.chat.completions.create(**ASKED, logprobs=True, top_logprobs=3).choices
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert len(tokens) == 8
    for token in tokens:
        assert [each.logprob for each in token.top_logprobs] == sorted(
            (each.logprob for each in token.top_logprobs), reverse=True
        )
        assert token.top_logprobs[0].token == token.token
        assert sum(math.exp(each.logprob) for each in token.top_logprobs) <= 1.001
    assert b"".join(bytes(token.bytes or b"") for token in tokens).decode(errors="ignore").strip()


def test_a_stream_and_several_answers_tell_the_same(client: openai.OpenAI) -> None:
    (whole,) = client.chat.completions.create(**ASKED, logprobs=True).choices
    told = [
        token
        for chunk in client.chat.completions.create(**ASKED, logprobs=True, stream=True)
        for token in (chunk.choices[0].logprobs.content or [] if chunk.choices[0].logprobs else [])
    ]
    assert whole.logprobs is not None
    assert [token.token for token in told] == [token.token for token in whole.logprobs.content or []]
    several = client.chat.completions.create(**{**ASKED, "temperature": 1.0}, logprobs=True, n=2, seed=1).choices
    assert [len(choice.logprobs.content or []) for choice in several if choice.logprobs] == [8, 8]


def test_a_bias_makes_a_token_certain_or_impossible(client: openai.OpenAI) -> None:
    (free,) = client.chat.completions.create(**ASKED).choices
    (held,) = client.chat.completions.create(**ASKED, logprobs=True, logit_bias={"40": 100}).choices
    assert held.logprobs is not None
    assert len({token.token for token in held.logprobs.content or []}) == 1
    assert held.message.content != free.message.content


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"logit_bias": {"40": 101}}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_what_is_wrong_is_named(client: openai.OpenAI, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ASKED, **asked)
    assert str(refused.value.param).startswith(param)


COMPLETED: dict[str, Any] = {"max_tokens": 8, "temperature": 0}


@pytest.mark.parametrize("model", ["tiny/gpt2", MODEL])
def test_completions_tell_likelihoods_in_their_own_form(client: openai.OpenAI, model: str) -> None:
    (choice,) = client.completions.create(model=model, prompt="hello", logprobs=2, **COMPLETED).choices
    told = choice.logprobs
    assert told is not None
    assert len(told.tokens or []) == len(told.token_logprobs or []) == len(told.top_logprobs or []) == 8
    assert told.text_offset == [sum(map(len, told.tokens[:at])) for at in range(8)]
    for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert logprob is not None
        assert top[token] == pytest.approx(logprob, abs=1e-4)

    *_, last = client.completions.create(model=model, prompt="hello", logprobs=2, stream=True, **COMPLETED)
    assert last.choices[0].logprobs == told
    alone = client.completions.create(model=model, prompt="hello", logprobs=0, **COMPLETED).choices[0].logprobs
    assert alone is not None
    assert (alone.tokens, alone.top_logprobs) == (told.tokens, None)


def test_completions_of_several_texts_tell_each_its_own(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny/gpt2", "logprobs": 1, **COMPLETED}
    both = client.completions.create(prompt=["hello", "the cat"], **asked).choices
    for prompt, choice in zip(["hello", "the cat"], both, strict=True):
        (alone,) = client.completions.create(prompt=prompt, **asked).choices
        assert choice.logprobs is not None
        assert alone.logprobs is not None
        assert choice.logprobs.tokens == alone.logprobs.tokens


@pytest.mark.parametrize("wrong", [{"logprobs": 2, "echo": True}, {"logprobs": 21}, {"logprobs": True}])
def test_likelihoods_that_completions_cannot_tell_are_refused(client: openai.OpenAI, wrong: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="tiny/gpt2", prompt="hello", extra_body=wrong)
    assert refused.value.param == "logprobs"
