"""Real media files, made by Pillow, soundfile and FFmpeg: independent of the code that reads them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

from modelyard.media.media import Media

RATE = 44_100
TONE_HZ = 440.0


def media(data: bytes, where: str = "base64") -> Media:
    """A request's media with these bytes."""
    return Media(where=where, data=data)


def gradient(height: int = 61, width: int = 90) -> np.ndarray[Any, Any]:
    """An image no two corners of which look alike: red grows downwards, green to the right, blue is constant."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, height)[:, None]
    pixels[..., 1] = np.linspace(0, 255, width)[None, :]
    pixels[..., 2] = 40
    return pixels


def image_file(image: Image.Image, kind: str, **options: Any) -> bytes:
    """`image` as a file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def tone(seconds: float = 1.0, rate: int = RATE) -> np.ndarray[Any, Any]:
    """A sine at half the full volume, float32 (n,)."""
    at = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * TONE_HZ * at)).astype(np.float32)


def sound_file(samples: np.ndarray[Any, Any], kind: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    """`samples`, (n,) or (n, channels), as a file."""
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format=kind, subtype=subtype)
    return target.getvalue()


def m4a_file(samples: np.ndarray[Any, Any], rate: int = RATE) -> bytes:
    """`samples` (n,) as AAC in an M4A file."""
    target = io.BytesIO()
    with av.open(target, "w", format="ipod") as container:
        add_sound(container, samples, rate)
    return target.getvalue()


def add_sound(container: Any, samples: np.ndarray[Any, Any], rate: int, codec: str = "aac") -> None:
    """Writes a mono track."""
    stream = container.add_stream(codec, rate=rate, layout="mono")
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
    frame.sample_rate = rate
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)


def video_file(
    frames: np.ndarray[Any, Any],
    fps: int = 25,
    kind: str = "mp4",
    codec: str = "libx264",
    *,
    gop: int = 12,
    samples: np.ndarray[Any, Any] | None = None,
) -> bytes:
    """uint8 (n, h, w, 3), of even size, as a video; `samples` at RATE beside it."""
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.bit_rate = gop, 2_000_000
        if samples is not None:
            add_sound(container, samples, RATE)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def counting_frames(count: int = 50, height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    """Grey frames, each brighter than the one before: frame i has the value `level(i)`."""
    return np.stack([np.full((height, width, 3), level(i), np.uint8) for i in range(count)])


def level(i: int) -> int:
    """The brightness of frame i."""
    return 20 + 4 * i


def gif_file(levels: list[int], duration_ms: int = 100, size: tuple[int, int] = (33, 21)) -> bytes:
    """Grey frames as an animation."""
    first, *rest = [Image.new("RGB", size, (value, value, value)) for value in levels]
    return image_file(first, "GIF", save_all=True, append_images=rest, duration=duration_ms)
