"""Arrays to files: PNG, WAV and MP4. Called in workers; imports Pillow and PyAV only when called."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from modelyard.media.media import Made

Array = np.ndarray[Any, np.dtype[Any]]

PNG = "image/png"
WAV = "audio/wav"
MP4 = "video/mp4"


def encode_png(pixels: Array) -> bytes:
    """A PNG of uint8 (h, w) grey, (h, w, 3) RGB or (h, w, 4) RGBA; bool (h, w) becomes 0 and 255.

    Of uint16 (h, w) it is a 16-bit grey PNG. Raises ValueError for any other array.
    """
    from PIL import Image

    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    channels = pixels.shape[2:] if pixels.ndim in (2, 3) else None
    fits = channels in ((), (3,), (4,)) if pixels.dtype == np.uint8 else pixels.dtype == np.uint16 and channels == ()
    if not fits or 0 in pixels.shape:
        raise ValueError(f"no PNG can be made of {pixels.dtype} {pixels.shape}")
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(target, "PNG", compress_level=3)
    return target.getvalue()


def encode_depth_png(depth: Array) -> bytes:
    """A 16-bit grey PNG of float (h, w): the least value becomes 0, the greatest 65535."""
    low, high = float(depth.min()), float(depth.max())
    scaled = (depth.astype(np.float64) - low) / ((high - low) or 1.0)
    return encode_png(np.rint(scaled * 65535).astype(np.uint16))


def encode_wav(samples: Array, rate: int) -> bytes:
    """A 16-bit WAV of float (n,) mono or (n, 2) stereo at `rate` samples per second; what is beyond ±1 is clipped."""
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > 2):
        raise ValueError(f"no WAV can be made of an array of shape {samples.shape}")
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(np.nan_to_num(samples), -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return target.getvalue()


def encode_mp4(frames: Array | Sequence[Array], fps: float) -> bytes:
    """An H.264 MP4 (yuv420p) of uint8 (n, h, w, 3) frames.

    Odd sizes grow by one row or column, repeated from the edge: H.264 wants even ones.
    """
    import av

    target = io.BytesIO()
    height, width = frames[0].shape[:2]
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for pixels in frames:
            even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def made_png(pixels: Array) -> Made:
    """An image a task has made."""
    return Made(data=encode_png(pixels), media_type=PNG)


def made_wav(samples: Array, rate: int) -> Made:
    """Sound a task has made."""
    return Made(data=encode_wav(samples, rate), media_type=WAV)


def made_mp4(frames: Array | Sequence[Array], fps: float) -> Made:
    """A video a task has made."""
    return Made(data=encode_mp4(frames, fps), media_type=MP4)
