"""Which frame of a sound each written token belongs to, by where the model looked while it wrote: attention of its
decoder to its encoder, and dynamic time warping, which finds the way through both that never goes back.

Source: OpenAI's Whisper, whisper/timing.py (MIT licence), with the times that transformers gives its tokens: where the
path comes to the token's row, which is where the one before it ends.
"""

from __future__ import annotations

import numpy as np

from modelyard.tasks.model import Array


def align_tokens(attention: Array, filter_width: int) -> Array:
    """The frame at which each token begins: (tokens,) int.

    `attention`: (heads, tokens, frames), of heads that follow the sound. `filter_width`: frames that a median smooths
    over, odd.
    """
    deviation = attention.std(axis=1, keepdims=True)
    scaled = (attention - attention.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1)
    return find_path(-smooth(scaled, filter_width).mean(axis=0).astype(np.float64))


def smooth(values: Array, width: int) -> Array:
    """The median of `width` neighbours on the last axis, whose ends are mirrored; as it is where that is too short."""
    reach = width // 2
    if values.shape[-1] <= reach:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(reach, reach)], mode="reflect")
    smoothed: Array = np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)
    return smoothed


BOTH, TOKEN, FRAME = 0, 1, 2
"""What a step of the path goes on by."""


def find_path(cost: Array) -> Array:
    """The cheapest path through (tokens, frames) from the first of both to the last: the frame at which it comes to
    each token. Ties go on by a frame.

    Worked out by diagonals, whose entries need only earlier diagonals, so that numpy does each of them at once.
    """
    tokens, frames = cost.shape
    total = np.full((tokens + 1, frames + 1), np.inf, dtype=np.float32)
    total[0, 0] = 0
    steps = np.full((tokens + 1, frames + 1), FRAME, dtype=np.int8)
    for diagonal in range(2, tokens + frames + 1):
        row = np.arange(max(1, diagonal - frames), min(tokens, diagonal - 1) + 1)
        column = diagonal - row
        both, token, frame = total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
        step = np.where((both < token) & (both < frame), BOTH, np.where((token < both) & (token < frame), TOKEN, FRAME))
        steps[row, column] = step
        total[row, column] = cost[row - 1, column - 1] + np.choose(step, (both, token, frame))
    steps[0, :], steps[:, 0] = FRAME, TOKEN
    return trace_back(steps)


def trace_back(steps: Array) -> Array:
    """The frame at which the path of `steps` comes to each token. Row and column 0 are before the first."""
    begins = np.zeros(steps.shape[0] - 1, dtype=np.int64)
    token, frame = steps.shape[0] - 1, steps.shape[1] - 1
    while token > 0 or frame > 0:
        if token > 0:
            begins[token - 1] = frame - 1
        step = steps[token, frame]
        token -= step != FRAME
        frame -= step != TOKEN
    return begins
