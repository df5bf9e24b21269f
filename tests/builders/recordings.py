"""Sounds and videos made on the spot, as the bytes that a client would send."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
from PIL import Image


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """A tone that wanders through noise: float32, (n,), exactly as 16-bit samples hold it."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.4 * np.sin(2 * np.pi * (200 + 300 * seed + 80 * time) * time) + 0.1 * random.standard_normal(len(time))
    samples: np.ndarray = (np.clip(sound, -1, 1 - 2**-15) * 2**15).astype(np.int16)
    return (samples / 2**15).astype(np.float32)


def wav(sound: np.ndarray, rate: int = 16_000) -> bytes:
    """The samples as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((sound * 2**15).astype("<i2").tobytes())
    return file.getvalue()


def in_base64(data: bytes) -> str:
    """The bytes as JSON carries them."""
    return base64.b64encode(data).decode()


def png(pixels: np.ndarray) -> bytes:
    """(height, width, 3) uint8 as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(width: int = 48, height: int = 40, seed: int = 0) -> np.ndarray:
    """Coloured waves: (height, width, 3) uint8."""
    down, across = np.mgrid[0:height, 0:width]
    waves = [np.sin(across / (3 + seed + channel) + down / (5 + 2 * channel) + seed) for channel in range(3)]
    return ((np.stack(waves, axis=-1) + 1) * 127).astype(np.uint8)


def film(count: int, width: int = 40, height: int = 36, seed: int = 0) -> np.ndarray:
    """A square that wanders over a ground: (count, height, width, 3) uint8, few colours, so that a GIF loses none."""
    frames = np.full((count, height, width, 3), (20 + 60 * seed, 120, 200), dtype=np.uint8)
    for at, frame in enumerate(frames):
        left = 3 * at % (width - 8)
        frame[4 + at : 14 + at, left : left + 8] = (230, 40 + 10 * at, 40)
    return frames


def gif(frames: np.ndarray, seconds_per_frame: float = 0.1) -> bytes:
    """The frames as an animated GIF."""
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame).quantize(16) for frame in frames)
    first.save(file, "GIF", save_all=True, append_images=others, duration=int(seconds_per_frame * 1000), loop=0)
    return file.getvalue()
