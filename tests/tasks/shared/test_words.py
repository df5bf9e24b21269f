from __future__ import annotations

import pytest

from modelyard.tasks.shared.words import Piece, join_words


def pieces(*texts: str) -> list[Piece]:
    """Texts that are said one after the other, a second each."""
    return [Piece(text, (at, at + 1)) for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("written", "language", "words"),
    [
        ((" Hel", "lo", " world"), None, [(" Hello", 0, 2), (" world", 2, 3)]),
        (("Hel", "lo", ",", " you"), "en", [("Hello,", 0, 3), (" you", 3, 4)]),
        ((" said", ' "', "no", '"', "."), "en", [(" said", 0, 1), (' "no".', 1, 5)]),
        (("你", "好", "。", "世"), "zh", [("你", 0, 1), ("好。", 1, 3), ("世", 3, 4)]),
        (("你", "好"), "en", [("你好", 0, 2)]),
        ((), None, []),
    ],
)
def test_words_begin_with_a_space_and_keep_their_punctuation(
    written: tuple[str, ...], language: str | None, words: list[tuple[str, int, int]]
) -> None:
    found = join_words(pieces(*written), language)
    assert [(word.text, *word.timestamp) for word in found] == words
