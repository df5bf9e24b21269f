from __future__ import annotations

import numpy as np
import pytest

from modelyard.tasks.shared.alignment import align_tokens, find_path, smooth


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 30), (12, 12), (9, 4)])
def test_path_is_the_librarys(shape: tuple[int, int]) -> None:
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    cost = np.random.default_rng(0).standard_normal(shape)
    tokens, frames = _dynamic_time_warping(cost)
    first = np.pad(np.diff(tokens), (1, 0), constant_values=1).astype(bool)
    assert find_path(cost).tolist() == frames[first].tolist()


def test_tokens_begin_where_the_heads_begin_to_look() -> None:
    looks = np.full((2, 3, 30), 0.01, dtype=np.float32)
    for token, begin in enumerate((0, 12, 20)):
        looks[:, token, begin : begin + 10] = 1
    assert align_tokens(looks, 3).tolist() == [0, 12, 20]
    assert align_tokens(looks[:, :1], 3).tolist() == [0]


def test_smoothing_takes_the_median_with_mirrored_ends() -> None:
    assert smooth(np.array([[1.0, 9.0, 2.0, 3.0]]), 3).tolist() == [[9.0, 2.0, 3.0, 2.0]]
    assert smooth(np.array([[1.0]]), 3).tolist() == [[1.0]]
