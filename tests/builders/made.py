"""Reads back what the media tasks make, by other means than ours."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from PIL import Image


def png_pixels(answer: dict[str, Any]) -> np.ndarray:
    """The pixels of a PNG, uint8 (height, width, 3)."""
    assert answer["media_type"] == "image/png"
    image = Image.open(io.BytesIO(base64.b64decode(answer["data"])))
    assert image.format == "PNG"
    return np.asarray(image)


def wav_sound(answer: dict[str, Any]) -> tuple[np.ndarray, int]:
    """The samples of a WAV, from -1 to 1, (samples,) or (samples, channels), and how many make a second."""
    assert answer["media_type"] == "audio/wav"
    with wave.open(io.BytesIO(base64.b64decode(answer["data"]))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32767
        channels = file.getnchannels()
        return (samples if channels == 1 else samples.reshape(-1, channels)), file.getframerate()


def mp4_frames(answer: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The frames of an MP4, uint8 (frames, height, width, 3), and how many are shown per second."""
    assert answer["media_type"] == "video/mp4"
    with av.open(io.BytesIO(base64.b64decode(answer["data"]))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


class Client:
    """Leaves after so many steps, and notes those it was told of."""

    def __init__(self, leaves_after: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self._leaves_after = leaves_after

    def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def cancelled(self) -> bool:
        return self._leaves_after is not None and len(self.steps) >= self._leaves_after

    @property
    def sinks(self) -> dict[str, Callable[..., Any]]:
        """What a call takes of it."""
        return {"progress": self.progress, "cancelled": self.cancelled}
