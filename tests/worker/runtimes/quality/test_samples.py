"""What models are compared on: shipped, and the same every time."""

from __future__ import annotations

import numpy as np

from modelyard.worker.runtimes.quality.samples import PICTURES, passages, pictures, sentences


def test_sentences_are_many_and_of_many_kinds() -> None:
    assert len({*sentences()}) == len(sentences()) >= 100
    lengths = [len(sentence.split()) for sentence in sentences()]
    assert (min(lengths), max(lengths) >= 20) == (1, True)
    assert sum(sentence.endswith("?") for sentence in sentences()) >= 5
    assert any("天" in sentence for sentence in sentences())
    assert all(sentence.strip() == sentence != "" for sentence in sentences())


def test_passages_are_connected_text() -> None:
    assert len(passages()) >= 8
    assert all(len(passage) > 200 for passage in passages())


def test_pictures_differ_and_are_the_same_every_time() -> None:
    first, second = [*pictures()], [*pictures()]
    assert len({picture.shape for picture in first}) == len(first) == PICTURES
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(picture.dtype == np.uint8 and picture.std() > 10 for picture in first)
