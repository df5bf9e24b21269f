"""Texts longer than a model's limit, as overlapping windows whose tokens know their place in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.shared.encoding import NAMES, Row
from modelyard.tasks.shared.slow_tokenizers import cut_tokens, find_offsets, words_of


@dataclass(frozen=True, slots=True)
class TextWindow:
    """One stretch of one text (with its pair), as the model sees it. Lists have one entry per token of `row`.

    `source`: which of the texts it is from. `first`: how many of that text's tokens come before it. `offsets`: each
    token's characters, start and end, in its own text. `parts`: 0 for the text, 1 for the pair, None for special
    tokens. `words`: which word of its part a token belongs to.
    """

    source: int
    first: int
    row: Row
    offsets: Sequence[tuple[int, int]]
    parts: Sequence[int | None]
    words: Sequence[int | None]


def encode_windows(
    model: Model, texts: Sequence[str], pairs: Sequence[str] | None, *, limit: int | None, shared: int
) -> list[TextWindow]:
    """The texts' windows, in order: each of at most `limit` tokens, with `shared` tokens in common with the one before.

    With `pairs`, it is the pair that is windowed, behind its whole text. The caller makes sure that `shared` fits.
    """
    if not model.tokenizer.is_fast:
        given = [(text, None if pairs is None else pairs[source]) for source, text in enumerate(texts)]
        return [
            window
            for source, (text, pair) in enumerate(given)
            for window in encode_slowly(model, source, text, pair, limit, shared)
        ]
    cut: dict[str, Any] = {}
    if limit is not None:
        truncation = "longest_first" if pairs is None else "only_second"
        cut = {"truncation": truncation, "max_length": limit, "stride": shared, "return_overflowing_tokens": True}
    batch = model.tokenizer(list(texts), None if pairs is None else list(pairs), return_offsets_mapping=True, **cut)
    windows: list[TextWindow] = []
    for index, offsets in enumerate(batch["offset_mapping"]):
        source = batch["overflow_to_sample_mapping"][index] if cut else index
        before = windows[-1] if windows and windows[-1].source == source else None
        part = 0 if pairs is None else 1
        first = 0 if before is None else before.first + before.parts.count(part) - shared
        row = {name: batch[name][index] for name in NAMES if name in batch}
        windows.append(TextWindow(source, first, row, offsets, batch.sequence_ids(index), batch.word_ids(index)))
    return windows


def encode_slowly(
    model: Model, source: int, text: str, pair: str | None, limit: int | None, shared: int
) -> Iterator[TextWindow]:
    """The windows of one text, or of its pair behind it, by a tokenizer that does not tell where its tokens are."""
    texts = [text] if pair is None else [text, pair]
    cut = len(texts) - 1
    encoded = model.tokenizer(*texts, return_special_tokens_mask=True, verbose=False)
    offsets = [find_offsets(model.tokenizer, each) for each in texts]
    words = [words_of(each) for each in texts]
    places = iter([(part, place) for part, own in enumerate(offsets) for place in own])
    tokens = [None if special else next(places, None) for special in encoded["special_tokens_mask"]]
    begin = next((index for index, token in enumerate(tokens) if token is not None and token[0] == cut), 0)
    room = room_for(model, limit, sum(map(len, offsets[:cut])), pair=pair is not None)
    for stretch in cut_tokens(len(offsets[cut]), room, shared):
        after = begin + len(offsets[cut])
        kept = [*range(begin), *(begin + index for index in stretch), *range(after, len(tokens))]
        own = [tokens[index] for index in kept]
        yield TextWindow(
            source,
            stretch.start,
            {name: [encoded[name][index] for index in kept] for name in NAMES if name in encoded},
            [(0, 0) if token is None else token[1] for token in own],
            [None if token is None else token[0] for token in own],
            [None if token is None else words[token[0]][token[1][0]] for token in own],
        )


def room_for(model: Model, limit: int | None, beside: int, *, pair: bool) -> int | None:
    """Tokens that fit into a window beside `beside` tokens and the special ones; None without a limit."""
    if limit is None:
        return None
    return int(limit - beside - model.tokenizer.num_special_tokens_to_add(pair=pair))


def check_shared(shared: int | None, room: int | None, name: str) -> int:
    """Tokens that neighbours share: `shared`, or a quarter of `room`. Raises InvalidRequest naming the param `name`."""
    if room is None:
        return 0
    if shared is None:
        return room // 4
    if shared >= room:
        raise InvalidRequest(field=name, got=shared, accepted=f"less than {room}, the tokens in a window")
    return shared
