"""Arrays to files: PNG, MP4, and sounds. Called in workers; imports Pillow and PyAV only when called."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

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


SoundFormat = Literal["wav", "mp3", "flac", "opus", "aac", "pcm"]


class Codec(NamedTuple):
    """How a sound is written. `rates`: samples per second that it takes, the first for others; none: any."""

    media_type: str
    container: str
    codec: str
    rates: tuple[int, ...] = ()


CODECS: dict[str, Codec] = {
    "mp3": Codec("audio/mpeg", "mp3", "libmp3lame",
                 (44_100, 48_000, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)),
    "flac": Codec("audio/flac", "flac", "flac"),
    "opus": Codec("audio/ogg", "ogg", "libopus", (48_000,)),
    "aac": Codec("audio/aac", "adts", "aac", (44_100, 48_000, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)),
    "pcm": Codec("audio/pcm", "s16le", "pcm_s16le", (24_000,)),
}  # fmt: skip
"""What sounds may become besides WAV. PCM: 16 bits, little-endian, 24,000 samples per second, as OpenAI has it."""


def encode_sound(samples: Array, rate: int, format: SoundFormat) -> bytes:
    """A sound as `encode_wav` takes it, in another format."""
    if format == "wav":
        return encode_wav(samples, rate)
    import av

    codec, layout = CODECS[format], "mono" if samples.ndim == 1 else "stereo"
    scaled = np.rint(np.clip(np.nan_to_num(samples), -1.0, 1.0) * 32767).astype("<i2").reshape(1, -1)
    target = io.BytesIO()
    with av.open(target, "w", format=codec.container) as container:
        stream: Any = container.add_stream(
            codec.codec, rate=rate if rate in codec.rates or not codec.rates else codec.rates[0], layout=layout
        )
        frame = av.AudioFrame.from_ndarray(scaled, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def encode_mp4(frames: Array | Sequence[Array], fps: float) -> bytes:
    """An H.264 MP4 (yuv420p) of uint8 (n, h, w, 3) frames.

    Odd sizes grow by one row or column, repeated from the edge: H.264 wants even ones.
    """
    import av

    target = io.BytesIO()
    height, width = frames[0].shape[:2]
    with av.open(target, "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = container.add_stream("libx264", rate=rate, options=x264_options())
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for pixels in frames:
            even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


@cache
def x264_options() -> Mapping[str, str]:
    """Where a processor has AVX-512, x264 is held to AVX2, which is no slower: its code for the former reads memory
    that nobody has written, so that the same frames make another film now and then (x264 165, in FFmpeg 8.1)."""
    try:
        has_avx512 = "avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:
        has_avx512 = False
    return {"x264-params": "asm=AVX2"} if has_avx512 else {}


def made_png(pixels: Array) -> Made:
    """An image a task has made."""
    return Made(data=encode_png(pixels), media_type=PNG)


def made_sound(samples: Array, rate: int, format: SoundFormat = "wav") -> Made:
    """Sound a task has made."""
    media_type = WAV if format == "wav" else CODECS[format].media_type
    return Made(data=encode_sound(samples, rate, format), media_type=media_type)


def made_mp4(frames: Array | Sequence[Array], fps: float) -> Made:
    """A video a task has made."""
    return Made(data=encode_mp4(frames, fps), media_type=MP4)
