"""`/v1/embeddings`, by OpenAI's own client: numbers and bytes, dimensions, token ids, what was read."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.later import Later
from tests.serving import Server

openai = Later("openai")

MODEL = "tiny/sentences"
TEXTS = ["the cat", "a dog"]


def expected(server: Server, model: str = MODEL, **params: Any) -> list[list[float]]:
    """What v2 answers to the same, of length 1."""
    return list(server.run(model, text=TEXTS, params={"normalize": True, **params}))


@pytest.mark.parametrize("model", [MODEL, "tiny/encoder"])
def test_vectors_are_v2s_of_length_1(server: Server, client: openai.OpenAI, model: str) -> None:
    answer = client.embeddings.create(model=model, input=TEXTS, encoding_format="float")

    assert [each.embedding for each in answer.data] == expected(server, model)
    assert [each.index for each in answer.data] == [0, 1]
    assert np.linalg.norm(answer.data[0].embedding) == pytest.approx(1)
    assert (answer.object, answer.model) == ("list", model)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 3


def test_the_clients_own_way_is_base64_of_little_endian_floats(server: Server, client: openai.OpenAI) -> None:
    """The client asks for base64 where nothing is said, and decodes it."""
    decoded = client.embeddings.create(model=MODEL, input=TEXTS)
    body = {"model": MODEL, "input": TEXTS, "encoding_format": "base64"}
    told = server.client.post("/v1/embeddings", json=body).json()

    assert np.allclose([each.embedding for each in decoded.data], expected(server), atol=1e-6)
    raw = base64.b64decode(told["data"][0]["embedding"])
    assert np.array_equal(np.frombuffer(raw, "<f4"), np.asarray(expected(server)[0], "<f4"))


def test_what_was_read_is_what_the_tokenizer_makes(server: Server, client: openai.OpenAI, zoo: Path) -> None:
    tokenizer = Tokenizer.from_file(str(zoo / MODEL / "tokenizer.json"))
    counts = [len(tokenizer.encode(text).ids) for text in TEXTS]
    for texts, count in ((TEXTS, sum(counts)), (TEXTS[0], counts[0])):
        assert client.embeddings.create(model=MODEL, input=texts).usage.prompt_tokens == count


def test_a_single_text_is_a_list_of_one(server: Server, client: openai.OpenAI) -> None:
    (only,) = client.embeddings.create(model=MODEL, input=TEXTS[1]).data
    assert np.allclose(only.embedding, expected(server)[1], atol=1e-6)


def test_dimensions_are_the_first_values_of_length_1(server: Server, client: openai.OpenAI) -> None:
    (whole, _), (short, _) = (
        [np.array(each.embedding) for each in client.embeddings.create(model=MODEL, input=TEXTS, **more).data]
        for more in ({}, {"dimensions": 4})
    )
    assert len(short) == 4
    assert short == pytest.approx(whole[:4] / np.linalg.norm(whole[:4]), abs=1e-5)
    with pytest.raises(openai.BadRequestError, match=f"at most {len(whole)}") as raised:
        client.embeddings.create(model=MODEL, input=TEXTS, dimensions=len(whole) + 1)
    assert raised.value.param == "dimensions"


@pytest.mark.parametrize("nested", [False, True])
def test_ids_of_tokens_stand_for_their_text(client: openai.OpenAI, zoo: Path, nested: bool) -> None:
    tokenizer = Tokenizer.from_file(str(zoo / MODEL / "tokenizer.json"))
    ids = tokenizer.encode(TEXTS[0], add_special_tokens=False).ids
    (by_ids,) = client.embeddings.create(model=MODEL, input=[ids] if nested else ids).data
    (by_text,) = client.embeddings.create(model=MODEL, input=TEXTS[0]).data

    assert by_ids.embedding == by_text.embedding


@pytest.mark.parametrize(
    ("wrong", "param", "words"),
    [
        ({"input": [[99_999_999]]}, "input", "own tokenizer"),
        ({"input": []}, "input", "1 to 1024"),
        ({"input": ["a", 5]}, "input", "either"),
        ({"input": [""] * 1025}, "input", "1024"),
        ({"input": None}, "input", "1 to 1024"),
        ({"encoding_format": "hex"}, "encoding_format", "float"),
        ({"dimensions": 0}, "dimensions", "1 to"),
        ({"pooling": "sum"}, "pooling", "sum"),
        ({"model": "tiny/chat"}, "model", "feature-extraction"),
        ({"colour": 1}, "colour", "no such field"),
    ],
)
def test_what_is_wrong_is_named(server: Server, wrong: dict[str, Any], param: str, words: str) -> None:
    told = server.client.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS, **wrong})

    assert told.status_code == 400, told.text
    assert told.json()["error"]["param"] == param
    assert words in told.json()["error"]["message"]


def test_settings_of_the_task_may_be_given_by_their_own_names(server: Server, client: openai.OpenAI) -> None:
    settings = {"normalize": False, "pooling": "max"}
    answer = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float", extra_body=settings)

    assert [each.embedding for each in answer.data] == expected(server, **settings)
