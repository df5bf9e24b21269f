from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.media import sniff
from tests.media.files import counting_frames, gif_file, gradient, image_file, m4a_file, sound_file, tone, video_file

IMAGE = Image.fromarray(gradient())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *((image_file(IMAGE, kind), name) for kind, name in (
            ("PNG", "PNG"), ("JPEG", "JPEG"), ("WEBP", "WebP"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"),
        )),
        *((sound_file(tone(0.1), kind), kind) for kind in ("WAV", "FLAC", "OGG", "MP3")),
        (m4a_file(tone(0.1)), "M4A"), (gif_file([1, 200]), "GIF"), (video_file(counting_frames(3)), "MP4"),
        (video_file(counting_frames(3), kind="webm", codec="libvpx"), "WebM"),
        (b"ID3\x04" + bytes(20), "MP3"), (b"MM\x00*" + bytes(20), "TIFF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_format_is_known_by_its_first_bytes(data: bytes, name: str):
    found = sniff.sniff(data)
    assert found is not None
    assert found.name == name
    assert sniff.sniff(bytearray(data)) is found


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file (0 bytes)"), (b"<svg/>", "an SVG drawing"), (b"  <?xml?><SVG>", "an SVG drawing"),
        (b"\xef\xbb\xbf<!doctype html>", "an HTML page"), (b'{"a": 1}', "JSON"), (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(9), "a HEIC or AVIF image"), (b"\xff\xff\xff\xff", "no known format"),
        (b"abc", "3 bytes of no known format, starting with 61 62 63"), (b"RIFF\0\0\0\0AVI ", "no known format"),
    ],
)  # fmt: skip
def test_anything_else_is_told_what_it_is_and_what_is_accepted(data: bytes, words: str):
    with pytest.raises(InvalidRequest) as caught:
        sniff.check(data, "image", "image_url")
    assert caught.value.message.startswith("image_url: got ")
    assert words in caught.value.message
    assert caught.value.message.endswith("accepted: image as PNG, JPEG, WebP, GIF, BMP, TIFF")


def test_a_file_of_another_kind_is_refused_by_its_format():
    with pytest.raises(InvalidRequest, match=r"got an MP3 file; accepted: image as"):
        sniff.check(sound_file(tone(0.1), "MP3"), "image", "url")
    with pytest.raises(InvalidRequest, match=r"got a PNG file; accepted: video as GIF, MP4, WebM"):
        sniff.check(image_file(IMAGE, "PNG"), "video", "url")
    assert sniff.check(video_file(counting_frames(3)), "audio", "url").name == "MP4"


def test_random_bytes_are_hardly_ever_a_format():
    random = np.random.default_rng(0)
    found = [sniff.sniff(random.integers(0, 256, 64, np.uint8).tobytes()) for _ in range(5000)]
    assert len([each for each in found if each is not None]) < 20
