"""Video as models read it: frames sampled over its length. Called in workers; imports PyAV and numpy when called."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelyard.errors import InvalidRequest
from modelyard.media import containers, sniff
from modelyard.media.content import content
from modelyard.media.media import Media
from modelyard.media.room import Room

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, np.dtype[np.uint8]]
    Seconds = np.ndarray[Any, np.dtype[np.float64]]

MAX_VIDEO_S = 2 * 60 * 60.0
"""Longer videos are refused."""
MAX_FRAME_PIXELS = 8192 * 4320
"""Larger frames are refused, also where they appear in the middle of a video."""
MAX_PACKETS = 1_000_000
"""More frames than two hours have at 120 per second."""
MAX_DECODED_BYTES = 1024**3
"""What the frames asked for may take together."""
THREADS = 1
"""Of the decoder, and of what turns its frames into RGB. FFmpeg by itself takes as many as there are cores, which is
more than a replica's share, and slower: 64 frames of 256x256 took 48 to 58 ms on two cores, and take 13."""


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of a video: `frames` uint8 (n, height, width, 3) RGB, upright; `times` float64 (n,) in seconds from its
    start; `duration_s` and `total_frames` of the whole video."""

    frames: Pixels
    times: Seconds
    duration_s: float
    total_frames: int


@dataclass(frozen=True, slots=True)
class Index:
    """What demuxing tells, before a frame is decoded: `shown_at` each frame's timestamp, ascending, and `keys`, those
    of frames that decode without another; in units of the stream's time base. `end_s`: where the last packet of any
    track ends."""

    shown_at: Sequence[int]
    keys: Sequence[int]
    end_s: float


def decode_video(media: Media, frames: int | None = None, room: Room | None = None) -> Video:
    """`frames` frames at equal distances from the first to the last, all of them when None or when there are fewer.

    Only the stretches between a key frame and a wanted frame are decoded. A GIF counts as video. It takes from the
    `room` of its request before it is decoded. Raises InvalidRequest naming `media.where`.
    """
    import numpy as np

    data = content(media)
    found = sniff.check(data, "video", media.where)
    with containers.reading(data, found, media.where) as container:
        containers.check_track(container.streams.video, "video", found, media.where)
        stream = container.streams.video[0]
        stream.codec_context.thread_count = THREADS
        check_size(stream.width, stream.height, 1, media.where)
        containers.check_duration(container, MAX_VIDEO_S, media.where)
        index = read_index(container, stream, media.where)
        if container.duration is not None:
            containers.check_reaches(container.duration / 1e6, index.end_s, found, media.where)
        chosen = [index.shown_at[i] for i in spread(len(index.shown_at), frames)]
        check_size(stream.width, stream.height, len(chosen), media.where)
        if room is not None:
            room.take(stream.width * stream.height * 3 * len(chosen), media.where)
        seekable = found is not sniff.GIF  # a GIF's frames are laid one over the other
        decoded = list(pick(container, stream, index, chosen, media.where, seekable=seekable))
        if len(decoded) < len(chosen):
            raise InvalidRequest(
                f"{media.where}: this {found.name} file is damaged or cut off: {len(decoded)} of {len(chosen)} "
                "frames could be decoded",
                field=media.where,
            )
        start, unit = index.shown_at[0], float(stream.time_base)
        return Video(
            frames=np.stack(decoded),
            times=np.array([(at - start) * unit for at in chosen]),
            duration_s=index.end_s - start * unit,
            total_frames=len(index.shown_at),
        )


def spread(total: int, wanted: int | None) -> list[int]:
    """`wanted` of `total` positions at equal distances, first and last included; all when there are fewer."""
    if wanted is None or wanted >= total:
        return list(range(total))
    if wanted == 1:
        return [(total - 1) // 2]
    return [round(i * (total - 1) / (wanted - 1)) for i in range(wanted)]


def check_size(width: int, height: int, count: int, where: str) -> None:
    """Raises InvalidRequest when `count` frames of this size are too much to decode."""
    if not 0 < width * height <= MAX_FRAME_PIXELS:
        raise InvalidRequest(
            field=where, got=f"a video of {width}x{height} pixels", accepted=f"1 to {MAX_FRAME_PIXELS} pixels"
        )
    if width * height * 3 * count > MAX_DECODED_BYTES:
        raise InvalidRequest(
            f"{where}: {count} frames of {width}x{height} pixels are more than {MAX_DECODED_BYTES // 1024**2} MB; "
            "ask for fewer frames, or send a smaller video",
            field=where,
        )


def read_index(container: Any, stream: Any, where: str) -> Index:
    """Demuxes the whole file without decoding. Raises InvalidRequest."""
    shown_at, keys, end_s = [], [], 0.0
    for packet in container.demux():
        if packet.pts is None or packet.size == 0:
            continue
        end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index == stream.index and not packet.is_discard:
            shown_at.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if len(shown_at) > MAX_PACKETS:
                raise InvalidRequest(f"{where}: this video has more than {MAX_PACKETS} frames", field=where)
    if not shown_at:
        raise InvalidRequest(f"{where}: this video has no frames", field=where)
    return Index(sorted(shown_at), sorted(keys), end_s)


def pick(
    container: Any, stream: Any, index: Index, chosen: Sequence[int], where: str, *, seekable: bool
) -> Iterator[Pixels]:
    """The frames shown at `chosen`, ascending. Fewer come when the file breaks off."""
    deadline = containers.Deadline(where)
    at = 0
    while at < len(chosen):
        begin = key_before(index.keys, chosen[at]) if seekable else index.shown_at[0]
        container.seek(begin, stream=stream)
        before = at
        for frame in containers.frames(container, stream):
            deadline.check()
            if frame.pts is None or frame.pts < chosen[at]:
                continue
            yield upright(frame)
            at += 1
            if at == len(chosen):
                return
            # Another key frame between here and the next wanted frame: going there skips what lies between.
            if seekable and key_before(index.keys, chosen[at]) > frame.pts:
                break
        if at == before:
            return


def key_before(keys: Sequence[int], shown_at: int) -> int:
    """The last key frame at or before a timestamp; the timestamp itself when there is none."""
    place = bisect.bisect_right(keys, shown_at)
    return keys[place - 1] if place else shown_at


def upright(frame: Any) -> Pixels:
    """A frame as uint8 (height, width, 3), turned as its display matrix says: phones record portrait lying down."""
    import numpy as np

    pixels = frame.to_ndarray(format="rgb24", threads=THREADS)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4)) if frame.rotation else pixels
