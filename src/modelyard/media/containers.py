"""Files that hold tracks of sound and video, read with FFmpeg through PyAV. Owns opening them and bounding the work.

Called in workers; imports PyAV only when called.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.media import sniff

DEMUXERS = {
    sniff.WAV: "wav", sniff.FLAC: "flac", sniff.OGG: "ogg", sniff.MP3: "mp3", sniff.M4A: "mov", sniff.MP4: "mov",
    sniff.WEBM: "matroska", sniff.GIF: "gif",
}  # fmt: skip
"""FFmpeg's reader for each format. Naming it keeps FFmpeg from guessing playlists and other formats that open files."""
MAX_DECODE_S = 60.0
"""Longer decoding is given up: some files of a few MB hold hours of nothing."""
MISSING_RATIO = 0.1
"""A file that ends earlier than its header says, by more than this part of its length, is cut off."""
MISSING_S = 0.25
"""... unless it is about less than this."""


class Deadline:
    """Ends work on one file after MAX_DECODE_S."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._end = time.monotonic() + MAX_DECODE_S

    def check(self) -> None:
        """Raises InvalidRequest when the time is over."""
        if time.monotonic() > self._end:
            raise InvalidRequest(
                f"{self._where}: decoding this file took longer than {MAX_DECODE_S:.0f} s", field=self._where
            )


@contextmanager
def reading(data: bytes, found: sniff.Format, where: str) -> Iterator[Any]:
    """An open container over `data`; whatever is wrong with it is an InvalidRequest naming `where`."""
    import av

    try:
        with av.open(io.BytesIO(data), format=DEMUXERS[found], metadata_errors="ignore") as container:
            yield container
    except InvalidRequest:
        raise
    except (av.FFmpegError, ValueError, OverflowError, EOFError) as error:
        raise InvalidRequest(
            f"{where}: this {found.name} file cannot be decoded; it is damaged or cut off "
            f"({getattr(error, 'strerror', None) or error})",
            field=where,
        ) from error


def frames(container: Any, stream: Any) -> Iterator[Any]:
    """The decoded frames of one track from where the container stands."""
    return iter(container.decode(stream))


def check_track(tracks: Sequence[Any], what: str, found: sniff.Format, where: str) -> None:
    """Raises InvalidRequest when there is no track, or none that FFmpeg knows how to decode."""
    if not tracks:
        raise InvalidRequest(f"{where}: this {found.name} file holds no {what}", field=where)
    if tracks[0].codec_context is None:
        raise InvalidRequest(f"{where}: the {what} in this {found.name} file is in an unknown codec", field=where)


def check_duration(container: Any, most_s: float, where: str) -> None:
    """Raises InvalidRequest when the header says that it is longer than `most_s`."""
    if container.duration is not None and container.duration / 1e6 > most_s:
        raise too_long(where, container.duration / 1e6, most_s)


def check_whole(stream: Any, decoded_s: float, found: sniff.Format, where: str) -> None:
    """Raises InvalidRequest when much less was decoded than the track's header promises."""
    if stream.duration is not None and stream.time_base is not None:
        check_reaches(float(stream.duration * stream.time_base), decoded_s, found, where)


def check_reaches(promised_s: float, found_s: float, found: sniff.Format, where: str) -> None:
    """Raises InvalidRequest when a file ends well before its promised end."""
    if promised_s - found_s > max(MISSING_S, MISSING_RATIO * promised_s):
        raise InvalidRequest(
            f"{where}: this {found.name} file is cut off: {found_s:.1f} of {promised_s:.1f} s are there", field=where
        )


def too_long(where: str, duration_s: float | None, most_s: float) -> InvalidRequest:
    """The error for a recording over the limit."""
    got = "a longer recording" if duration_s is None else f"a recording of {duration_s:.0f} s"
    return InvalidRequest(field=where, got=got, accepted=f"at most {most_s:.0f} s")
