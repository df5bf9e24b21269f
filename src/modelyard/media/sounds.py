"""Sound as models read it. Called in workers; imports PyAV and numpy only when called."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.errors import InvalidRequest
from modelyard.media import containers, sniff
from modelyard.media.content import content
from modelyard.media.media import Media
from modelyard.media.room import Room

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

MAX_SOUND_S = 2 * 60 * 60.0
"""Longer recordings are refused."""
MIN_RATE, MAX_RATE = 1_000, 768_000
"""Samples per second that a recording may claim to have."""
MAX_CHANNELS = 64
"""FFmpeg's resampler takes no more. Source: SWR_CH_MAX in libswresample."""

STREAMED_BYTES = 0x7FFFFFFF
"""Programs that write a WAV to a pipe cannot know its size, and say this or more."""


def decode_sound(media: Media, rate: int, room: Room | None = None) -> Samples:
    """The sound as float32 (samples,) at `rate` per second, about -1 to 1, channels averaged; also of a video.

    Resampled through FFmpeg's band-limited filter. It takes from the `room` of its request while it is decoded. Raises
    InvalidRequest naming `media.where`.
    """
    import numpy as np

    data = content(media)
    found = sniff.check(data, "audio", media.where)
    if found is sniff.WAV:
        check_wav(data, media.where)
    with containers.reading(data, found, media.where) as container:
        containers.check_track(container.streams.audio, "sound", found, media.where)
        containers.check_duration(container, MAX_SOUND_S, media.where)
        pieces = []
        for piece in resampled(container, rate, media.where):
            if room is not None:
                room.take(piece.nbytes, media.where)
            pieces.append(piece)
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        if not samples.size:
            raise InvalidRequest(f"{media.where}: this {found.name} file holds no samples", field=media.where)
        # The duration of an MP3 is often an estimate.
        if found is not sniff.MP3:
            containers.check_whole(container.streams.audio[0], samples.size / rate, found, media.where)
    return samples


def check_wav(data: bytes, where: str) -> None:
    """Raises InvalidRequest when a WAV's samples end before its header says, where FFmpeg would take what is there, and
    for too many channels, of which it would say that something is invalid."""
    position = 12
    while (header := data[position : position + 8]) and len(header) == 8:
        name, (size,) = header[:4], struct.unpack("<I", header[4:])
        position += 8
        if name == b"fmt ":
            check_channels(int.from_bytes(data[position + 2 : position + 4], "little"), where)
        if name == b"data":
            there = len(data) - position
            if size > there and size < STREAMED_BYTES:
                raise InvalidRequest(
                    f"{where}: this WAV file is cut off: {there} of {size} bytes of samples are there", field=where
                )
            return
        position += size + size % 2


def check_channels(channels: int, where: str) -> None:
    """Raises InvalidRequest for more than can be averaged."""
    if channels > MAX_CHANNELS:
        raise InvalidRequest(field=where, got=f"{channels} channels", accepted=f"at most {MAX_CHANNELS}")


def resampled(container: Any, rate: int, where: str) -> Iterator[Samples]:
    """The first sound track, piece by piece, mono at `rate`. Raises InvalidRequest when it is too long, or of a rate
    or a number of channels that cannot be read."""
    from av import AudioResampler

    stream = container.streams.audio[0]
    if not MIN_RATE <= stream.rate <= MAX_RATE:
        raise InvalidRequest(field=where, got=f"{stream.rate} samples per second", accepted=f"{MIN_RATE} to {MAX_RATE}")
    check_channels(stream.channels, where)
    # Channels stay: FFmpeg's own mono is 3 dB louder. Packed: of eight planes or more PyAV reads beyond what is there.
    resampler = AudioResampler(format="flt", rate=rate)
    room = int(MAX_SOUND_S * rate)
    deadline = containers.Deadline(where)
    for frame in containers.frames(container, stream):
        deadline.check()
        for piece in resampler.resample(frame):
            room -= piece.samples
            if room < 0:
                raise containers.too_long(where, None, MAX_SOUND_S)
            yield averaged(piece)
    for piece in resampler.resample(None):
        yield averaged(piece)


def averaged(piece: Any) -> Samples:
    """The average of the channels of packed samples."""
    found: Samples = piece.to_ndarray().reshape(piece.samples, -1).mean(axis=1)
    return found
