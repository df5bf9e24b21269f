"""What the media of one request may take together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.media.images import decode_image
from modelyard.media.room import Room
from modelyard.media.sounds import decode_sound
from modelyard.media.videos import decode_video
from modelyard.units import MIB
from tests.media.files import counting_frames, gif_file, image_file, media, sound_file, tone, video_file


@pytest.mark.parametrize(
    ("decode", "data", "size"),
    [
        (decode_image, image_file(Image.new("L", (700, 500)), "PNG"), 700 * 500 * 3),
        (
            lambda file, room: decode_sound(file, 16_000, room),
            sound_file(tone(5.0, 16_000), "WAV", rate=16_000),
            320_000,
        ),
        (lambda file, room: decode_video(file, 10, room), video_file(counting_frames()), 10 * 48 * 64 * 3),
        (lambda file, room: decode_video(file, None, room), gif_file([1, 90, 180]), 3 * 33 * 21 * 3),
    ],
    ids=["image", "sound", "video", "gif"],
)
def test_media_are_counted_together_and_refused_before_they_are_decoded(
    decode: Callable[..., Any], data: bytes, size: int
) -> None:
    room = Room(2 * size + size // 2)
    for _ in range(2):
        decode(media(data), room)
    assert not room.refused
    with pytest.raises(InvalidRequest, match=r"third: it takes .* beside .* before it; accepted: at most .* in one"):
        decode(media(data, "third"), room)
    assert room.refused


def test_what_is_refused_takes_nothing() -> None:
    room = Room(2 * MIB)
    room.take(MIB, "a")
    with pytest.raises(InvalidRequest, match="b: it takes 2 MiB once decoded, beside 1 MiB of the media"):
        room.take(2 * MIB, "b")
    room.take(MIB, "c")
