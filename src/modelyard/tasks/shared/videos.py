"""Videos as models read them: so many frames, at equal distances. Owns no task."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from modelyard.media.media import Media
from modelyard.media.videos import decode_video
from modelyard.tasks.base import Inputs
from modelyard.tasks.model import Array

EXAMPLE = (
    "R0lGODlhIAAYAIEAAPDw8MgeHgAAAAAAACH5BAAZAAAALAAAAAAgABgAAAhCAAEIHEiwoMGDCBMqXMiwocOHECNKnEixosWDATJqzHgRwMaNHT"
    "9qDCkyAEmRJz+mBHmxpMmOMGPKnEmzps2bFwMCACH5BAEZAAIALAQACAAOAAgAgfDw8MgeHgAAAAAAAAgpAAEIHChAQICDCAcSNIjwoEKBBRs6"
    "fBhR4kMAFRtezJiQIkONHiUGCAgAIfkEARkAAgAsCgAIAA4ACACB8PDwyB4eAAAAAAAACCkAAQgcKEBAgIMIBxI0iPCgQoEFGzp8GFHiQwAVG1"
    "7MmJAiQ40eJQYICAAh+QQBGQACACwQAAgADgAIAIHw8PDIHh4AAAAAAAAIKQABCBwoQECAgwgHEjSI8KBCgQUbOnwYUeJDABUbXsyYkCJDjR4l"
    "BggIADs="
)
"""A GIF of 4 frames, for examples."""

MOST_FRAMES = 256


class VideoInputs(Inputs, frozen=True, kw_only=True):
    """One video."""

    media: Annotated[Media, Meta(description="the video: video_url, url or base64 (MP4, WebM, GIF)")]


def decode_frames(media: Media, frames: int) -> Array:
    """`frames` frames from the first to the last: (frames, height, width, 3) uint8. A shorter video repeats some.

    Raises InvalidRequest.
    """
    seen = decode_video(media, frames=frames).frames
    if len(seen) < frames:
        seen = seen[np.linspace(0, len(seen) - 1, frames).round().astype(int)]
    return seen
