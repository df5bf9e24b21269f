from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from modelyard.tasks.shared.detokenizer import Detokenizer
from tests.builders import tokenizers

TEXTS = [
    "Once upon a time there was a small fox.",
    "The café served 🦊☕ and 火星 — naïve, déjà vu!",
    "  two  spaces, a\nnew line\tand a tab ",
    "👩‍👩‍👧 family, e\u0301 combining",
]
KINDS = {
    "byte-level": lambda: tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>"),
    "byte-fallback": lambda: tokenizers.byte_fallback(["<unk>", "<s>", "</s>"], unk_token="<unk>", eos_token="</s>"),
    "unigram": tokenizers.unigram,
    "wordpiece": tokenizers.wordpiece,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def decode(tokenizer: Any, ids: Any) -> Any:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def pieces_of(tokenizer: Any, ids: Any, prompt: Sequence[int] = (), size: int = 1) -> Any:
    detokenizer = Detokenizer(tokenizer, prompt)
    pieces = [detokenizer.push(ids[start : start + size]) for start in range(0, len(ids), size)]
    return [*pieces, detokenizer.finish()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pieces_are_the_whole_text(tokenizer: Any, text: str, size: int) -> None:
    ids = tokenizer(text)["input_ids"]
    pieces = pieces_of(tokenizer, ids, size=size)
    assert "".join(pieces) == decode(tokenizer, ids)


@pytest.mark.parametrize("text", TEXTS)
def test_no_piece_ends_inside_a_character(tokenizer: Any, text: str) -> None:
    pieces = pieces_of(tokenizer, tokenizer(text)["input_ids"])
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("text", TEXTS)
def test_continuation_joins_the_prompt_as_if_decoded_together(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = decode(tokenizer, ids)
    for cut in range(1, len(ids)):
        before = decode(tokenizer, ids[:cut])
        if "\ufffd" in before:
            continue  # a prompt is whole characters
        assert before + "".join(pieces_of(tokenizer, ids[cut:], ids[:cut])) == whole


def test_incomplete_character_shows_at_the_end_only() -> None:
    tokenizer = KINDS["byte-level"]()
    ids = tokenizer("🦊")["input_ids"][:-1]
    assert pieces_of(tokenizer, ids) == [""] * len(ids) + ["\ufffd"]


def test_cost_per_token_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = KINDS["byte-level"]()
    decoded = []

    def decode_and_count(self: Any, ids: Sequence[int], **_: Any) -> str:
        decoded.append(len(ids))
        return str(self.backend_tokenizer.decode(ids))

    monkeypatch.setattr(type(tokenizer), "decode", decode_and_count)
    broken = tokenizer("🦊")["input_ids"][:1]
    for ids in (tokenizer("a word ")["input_ids"] * 400, broken * 1000, [0] * 1000):
        decoded.clear()
        pieces_of(tokenizer, ids)
        assert max(decoded) < 150
        assert len(decoded) <= 2 * len(ids) + 2


def test_special_tokens_are_not_text() -> None:
    tokenizer = KINDS["byte-level"]()
    ids = list(itertools.chain.from_iterable((0, token) for token in tokenizer("Hello there")["input_ids"]))
    assert "".join(pieces_of(tokenizer, ids)) == "Hello there"
