"""Texts that a model reads in twos, such as a premise and a hypothesis. Owns the forms in which requests give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Inputs
from modelyard.tasks.model import Model
from modelyard.tasks.shared.encoding import Row, encode
from modelyard.tasks.shared.texts import MOST_TEXTS


class TextPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two texts that are read together."""

    text: Annotated[str, msgspec.Meta(description="the first text")]
    text_pair: Annotated[str, msgspec.Meta(description="the second text")]


Two = Annotated[list[str], msgspec.Meta(min_length=2, max_length=2)]
"""The same as a list of both texts."""


class TextOrPairInputs(Inputs, frozen=True, kw_only=True):
    """One text or several, each alone or with a second one."""

    text: Annotated[
        str | TextPair | Annotated[list[str | TextPair | Two], msgspec.Meta(min_length=1, max_length=MOST_TEXTS)],
        msgspec.Meta(
            description="a text, or a list of 1 to 1024, which is answered by a list; for models that read two texts, "
            'each may be a pair, {"text", "text_pair"} or a list of both'
        ),
    ]
    text_pair: Annotated[
        str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_TEXTS)] | None,
        msgspec.Meta(
            description="the second text, for models that read two; for a list of texts a list as long, one for each"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when `text_pair` is not one second text for each text."""
        if self.text_pair is None:
            return
        if isinstance(self.text, str):
            if not isinstance(self.text_pair, str):
                raise InvalidRequest(field="text_pair", got=self.text_pair, accepted="one text, as text is one")
        elif isinstance(self.text, TextPair) or not all(isinstance(text, str) for text in self.text):
            raise InvalidRequest(field="text_pair", got=self.text_pair, accepted="nothing where text holds pairs")
        elif isinstance(self.text_pair, str) or len(self.text_pair) != len(self.text):
            raise InvalidRequest(
                field="text_pair", got=self.text_pair, accepted=f"a list of {len(self.text)} texts, one for each text"
            )


class TextOrPair(NamedTuple):
    """What a model reads at once: a text, and the one beside it where there is one."""

    text: str
    pair: str | None = None


def pairs_of(call: Call[Any, Any]) -> list[TextOrPair]:
    """What the call asks about, in order."""
    text, pair = call.inputs.text, call.inputs.text_pair
    if not isinstance(text, list):
        return [to_pair(text) if pair is None else TextOrPair(text, pair)]
    if pair is None:
        return [to_pair(each) for each in text]
    return [TextOrPair(*both) for both in zip(text, pair, strict=True)]


def to_pair(given: str | TextPair | list[str]) -> TextOrPair:
    """One element of `text` in any of its forms."""
    if isinstance(given, str):
        return TextOrPair(given)
    return TextOrPair(given.text, given.text_pair) if isinstance(given, TextPair) else TextOrPair(*given)


def pair_length(call: Call[Any, Any]) -> int:
    """Characters in the longest that the call asks about: near enough to tokens to put similar lengths together."""
    return max(len(each.text) + len(each.pair or "") for each in pairs_of(call))


def answer_pairs(call: Call[Any, Any], results: Sequence[Any]) -> Any:
    """The results of the call's texts in the form of its text: one, or a list."""
    return list(results) if isinstance(call.inputs.text, list) else results[0]


def encode_pairs(model: Model, pairs: Sequence[TextOrPair]) -> list[Row]:
    """One row for each, in order, cut to `model.max_length` where both texts are longest; an empty second text counts
    as none, as in the library's pipeline. Raises InvalidRequest."""
    alone = [each.text for each in pairs if not each.pair]
    paired = [each for each in pairs if each.pair]
    rows_alone = iter(encode(model, alone) if alone else ())
    both = [each.text for each in paired], [each.pair or "" for each in paired]
    rows_paired = iter(encode(model, *both) if paired else ())
    return [next(rows_paired if each.pair else rows_alone) for each in pairs]
