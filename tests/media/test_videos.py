from __future__ import annotations

import io
import os
from contextlib import suppress

import av
import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.media import videos
from modelyard.media.videos import decode_video, spread
from tests.media.files import counting_frames, gif_file, gradient, level, m4a_file, media, tone, video_file


@pytest.mark.parametrize(
    ("kind", "codec"), [("mp4", "libx264"), ("mp4", "mpeg4"), ("webm", "libvpx"), ("webm", "libvpx-vp9")]
)
@pytest.mark.parametrize("gop", [1, 12, 250])
def test_frames_come_from_equal_distances_with_their_times(kind: str, codec: str, gop: int) -> None:
    video = decode_video(media(video_file(counting_frames(50), kind=kind, codec=codec, gop=gop)), 8)
    wanted = spread(50, 8)
    assert video.frames.shape == (8, 48, 64, 3)
    assert video.frames.dtype == np.uint8
    assert np.abs(video.frames[:, 24, 32, 1].astype(int) - [level(i) for i in wanted]).max() <= 3
    np.testing.assert_allclose(video.times, [i / 25 for i in wanted], atol=0.002)
    assert video.total_frames == 50
    assert video.duration_s == pytest.approx(2.0, abs=0.05)


def test_spread_takes_the_first_and_the_last() -> None:
    assert spread(50, 2) == [0, 49]
    assert spread(50, 1) == [24]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(3, None) == [0, 1, 2]
    assert spread(9, 5) == [0, 2, 4, 6, 8]


def test_all_frames_come_when_no_number_is_asked_for() -> None:
    video = decode_video(media(video_file(counting_frames(20))))
    assert video.frames.shape[0] == 20
    assert (np.diff(video.frames[:, 0, 0, 0].astype(int)) > 0).all()


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9")])
def test_a_video_is_read_on_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch, kind: str, codec: str) -> None:
    started: set[str] = set()
    upright = videos.upright

    def watched(frame: av.VideoFrame) -> videos.Pixels:
        pixels = upright(frame)
        started.update(os.listdir("/proc/self/task"))
        return pixels

    monkeypatch.setattr(videos, "upright", watched)
    data = media(video_file(counting_frames(4, 256, 256), kind=kind, codec=codec))
    before = set(os.listdir("/proc/self/task"))
    decode_video(data)
    assert started
    assert started <= before


def test_a_gif_is_a_video() -> None:
    video = decode_video(media(gif_file([10, 60, 110, 160, 210])), 3)
    assert video.frames.shape == (3, 21, 33, 3)
    assert np.abs(video.frames[:, 5, 5, 0].astype(int) - [10, 110, 210]).max() <= 2
    np.testing.assert_allclose(video.times, [0.0, 0.2, 0.4], atol=0.001)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_phone_video_is_turned_upright(turn: int) -> None:
    upright = gradient(48, 64)
    stored = np.stack([np.rot90(upright, -turn // 90)] * 5)
    plain = video_file(np.ascontiguousarray(stored))
    target = io.BytesIO()
    with av.open(io.BytesIO(plain)) as source, av.open(target, "w", format="mp4") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    data = turned(target.getvalue(), turn)
    video = decode_video(media(data), 1)
    assert video.frames.shape == (1, 48, 64, 3)
    assert np.abs(video.frames[0].astype(int) - upright).mean() < 6


def turned(mp4: bytes, degrees: int) -> bytes:
    """The file with a display matrix that turns counter-clockwise by `degrees`. Source: ISO 14496-12, 8.3.2."""
    one, zero, unit = (0x10000).to_bytes(4, "big"), bytes(4), (0x40000000).to_bytes(4, "big")
    minus = (0xFFFF0000).to_bytes(4, "big")
    cos, sin = {90: (zero, minus), 180: (minus, zero), 270: (zero, one)}[degrees]
    negative = {one: minus, minus: one, zero: zero}[sin]
    identity = one + zero + zero + zero + one + zero + zero + zero + unit
    place = mp4.index(b"tkhd")
    start = mp4.index(identity, place)
    return mp4[:start] + cos + sin + zero + negative + cos + zero + zero + zero + unit + mp4[start + 36 :]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx")])
def test_a_file_that_is_cut_off_is_refused_by_name(kind: str, codec: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), np.uint8)
    data = video_file(noise, kind=kind, codec=codec)
    with pytest.raises(InvalidRequest, match=r"^video_url: .* cut off"):
        decode_video(media(data[: int(len(data) * keep)], "video_url"), 8)


def test_a_recording_without_pictures_is_no_video() -> None:
    with pytest.raises(InvalidRequest, match="got an M4A file; accepted: video as GIF, MP4, WebM"):
        decode_video(media(m4a_file(tone())), 8)


def test_limits_on_pixels_frames_and_memory_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    data = media(video_file(counting_frames(50)))
    for name, value, words in (
        ("MAX_FRAME_PIXELS", 1000, "64x48 pixels"),
        ("MAX_DECODED_BYTES", 10_000, "ask for fewer frames"),
        ("MAX_PACKETS", 10, "more than 10 frames"),
        ("MAX_VIDEO_S", 1.0, "at most 1 s"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(videos, name, value)
            with pytest.raises(InvalidRequest, match=words):
                decode_video(data)


def test_random_damage_never_raises_anything_but_invalid_request() -> None:
    random = np.random.default_rng(1)
    for data in (
        video_file(counting_frames(20)), video_file(counting_frames(20), kind="webm", codec="libvpx"),
        gif_file([10, 60, 110]),
    ):  # fmt: skip
        for _ in range(30):
            damaged = bytearray(data)
            for place in random.integers(12, len(data), 6):
                damaged[place] = random.integers(256)
            with suppress(InvalidRequest):
                decode_video(media(bytes(damaged)), 4)
