"""Words and when they are said, from the tokens that a model writes: a token's time, a word's many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from modelyard.tasks.shared.detokenizer import Detokenizer
from modelyard.tasks.shared.transcripts import Chunk

Times = tuple[float, float]
"""Begin and end in the sound, in seconds from its start."""
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
OPENING = "\"'“¡¿([{-"
"""Punctuation that belongs to the word after it."""
CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word before it."""
WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Codes of languages that put no spaces between words: there each character or syllable that is written is one."""


EACH_TOKEN = {"group_tokens": False}
"""For tokenizers of CTC models, which otherwise take several of the same for one that takes long."""


class Piece(NamedTuple):
    """The text of one token, or of several that make up a character, and when it is said."""

    text: str
    times: Times


def read_pieces(tokenizer: Any, tokens: Sequence[int], times: Sequence[Times], **settings: Any) -> list[Piece]:
    """The pieces of a text. `times`: of each token. `settings`: of the tokenizer's own `decode`."""
    detokenizer = Detokenizer(tokenizer, **settings)
    pieces: list[Piece] = []
    begin: float | None = None
    for token, (first, last) in zip(tokens, times, strict=True):
        begin = first if begin is None else begin
        if text := detokenizer.push((token,)):
            pieces.append(Piece(text, (begin, last)))
            begin = None
    if text := detokenizer.finish():
        pieces.append(Piece(text, (times[-1][0] if begin is None else begin, times[-1][1])))
    return pieces


def join_words(pieces: Sequence[Piece], language: str | None = None) -> list[Chunk]:
    """The words, each with the space before it: a new one begins with a space or a punctuation mark, which then goes to
    the word that it belongs to.

    Source: the splitting of OpenAI's Whisper (whisper/tokenizer.py and timing.py), MIT licence.
    """
    words: list[Piece] = []
    for piece in pieces:
        stands_alone = piece.text.startswith(" ") or piece.text.strip() in PUNCTUATION
        if stands_alone or not words or language in WITHOUT_SPACES:
            words.append(piece)
        else:
            words[-1] = put_together(words[-1], piece)
    return [Chunk(word.times, word.text) for word in with_closing(with_opening(words))]


def put_together(one: Piece, other: Piece) -> Piece:
    """Two neighbours as one."""
    return Piece(one.text + other.text, (one.times[0], other.times[1]))


def with_opening(words: Sequence[Piece]) -> list[Piece]:
    """The words, opening punctuation put in front of the one after it."""
    joined: list[Piece] = []
    for word in reversed(words):
        if joined and word.text.startswith(" ") and word.text.strip() in OPENING:
            joined[-1] = put_together(word, joined[-1])
        else:
            joined.append(word)
    return joined[::-1]


def with_closing(words: Sequence[Piece]) -> list[Piece]:
    """The words, closing punctuation put behind the one before it."""
    joined: list[Piece] = []
    for word in words:
        if joined and not joined[-1].text.endswith(" ") and word.text in CLOSING:
            joined[-1] = put_together(joined[-1], word)
        else:
            joined.append(word)
    return joined


def spelled(words: Sequence[Chunk]) -> list[Chunk]:
    """The words without the spaces around them, as models that spell give theirs."""
    stripped = (Chunk(word.timestamp, word.text.strip()) for word in words)
    return [word for word in stripped if word.text]
