"""What a loaded model offers to a task that makes images, videos or sound. Arrays are numpy; no framework is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from modelyard.tasks.model import Array, Model, TextModel

OnStep = Callable[[int, int], bool]
"""Called on the model's thread after each step: (steps done, steps in all). Returns True to end the work now."""


@runtime_checkable
class Maker(Protocol):
    """One loaded model that makes media.

    `path` is its folder. `settings`: which settings this model reads, by the names of the tasks' params. `rate`:
    samples in a second of its sound, or frames in a second of the videos that it is made for; 0 when it does not say.
    """

    path: Path
    settings: frozenset[str]
    rate: int

    def make(self, options: Mapping[str, Any], on_step: OnStep) -> Array | None:
        """One image, video or sound. `options`: `text` where the model reads one, and some of `settings`; of them
        `image`, `mask`, `control_image` and `last_image` are images of Pillow's, the mask in mode L, and `video` a list
        of them.

        Returns, depending on what the model makes, an image as uint8 (height, width, 3), its depths as float32
        (height, width), a video as uint8
        (frames, height, width, 3), or sound as float32 (samples,) or (samples, channels), from -1 to 1. The same
        `seed` gives the same answer on the same machine. None when `on_step` has ended the work.

        Raises: InvalidRequest for settings that this model cannot follow, InferenceFailed.
        """


Loaded = Model | TextModel | Maker
"""What a runtime loads: which of them depends on the task's heads and on the runtime."""
