from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.media.encode import encode_png
from modelyard.media.images import MAX_PIXELS, decode_image
from tests.media.files import gradient, image_file, media

SOURCE = Image.fromarray(gradient())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {}, 0), ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0), ("WEBP", {"quality": 95}, 16), ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12), ("GIF", {}, 24),
    ],
)  # fmt: skip
def test_every_format_gives_the_pixels_that_went_in(kind: str, options: dict[str, object], tolerance: int) -> None:
    image = decode_image(media(image_file(SOURCE, kind, **options)))
    assert (image.mode, image.size) == ("RGB", SOURCE.size)
    assert np.abs(np.asarray(image).astype(int) - gradient()).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_its_exif_data_says(orientation: int, kind: str) -> None:
    """The camera stored the upright picture after the inverse of the turn that EXIF asks for."""
    upright = gradient(40, 64)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    image = decode_image(media(image_file(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)))
    assert image.size == (64, 40)
    assert np.abs(np.asarray(image).astype(int) - upright).max() <= 12


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("RGB", (4, 4), (9, 8, 7)).quantize(), (9, 8, 7)),
        (Image.fromarray(np.full((4, 4), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)), (128, 128, 128)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb_on_white(image: Image.Image, expected: tuple[int, int, int]) -> None:
    assert decode_image(media(image_file(image, "PNG"))).getpixel((1, 1)) == expected


def test_a_palette_with_a_transparent_colour_is_put_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    decoded = decode_image(media(image_file(image, "PNG", transparency=0)))
    assert [decoded.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 200)]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = decode_image(media(image_file(image, "TIFF"))).getpixel((3, 3))  # type: ignore[misc]
    assert red > 240
    assert green < 20
    assert blue < 20


def test_an_animation_counts_as_its_first_frame() -> None:
    first, second = Image.new("RGB", (5, 5), (10, 20, 30)), Image.new("RGB", (5, 5), (200, 0, 0))
    for kind in ("GIF", "WEBP", "PNG"):
        data = image_file(first, kind, save_all=True, append_images=[second], lossless=True)
        assert decode_image(media(data)).getpixel((2, 2)) == (10, 20, 30), kind


def test_damaged_exif_data_turns_nothing() -> None:
    data = image_file(SOURCE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 20)
    assert decode_image(media(data)).size == SOURCE.size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_that_is_cut_off_is_refused_by_name(kind: str) -> None:
    data = image_file(Image.effect_noise((300, 200), 50).convert("RGB"), kind)
    with pytest.raises(InvalidRequest, match=r"^image_url: .* damaged or cut off"):
        decode_image(media(data[: len(data) // 2], "image_url"))


def test_an_image_of_too_many_pixels_is_refused_by_its_header() -> None:
    data = image_file(Image.new("1", (20_000, 20_000)), "PNG")
    assert MAX_PIXELS < 20_000**2
    assert len(data) < 100_000
    with pytest.raises(InvalidRequest, match=r"20000x20000 pixels.; accepted: 1 to 100 megapixels"):
        decode_image(media(data))


def test_random_damage_never_raises_anything_but_invalid_request() -> None:
    random = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        data = bytearray(image_file(SOURCE, kind))
        for _ in range(40):
            damaged = bytearray(data)
            for place in random.integers(8, len(data), 6):
                damaged[place] = random.integers(256)
            with suppress(InvalidRequest):
                decode_image(media(bytes(damaged)))


def test_a_mask_is_white_where_it_is_white_or_transparent():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 3] = [[255, 0], [255, 128]]
    pixels[0, 0, :3] = 200
    by_alpha = decode_image(media(encode_png(pixels)), mask=True)
    assert np.asarray(by_alpha).tolist() == [[0, 255], [0, 127]]
    pixels[..., 3] = 255
    pixels[1, 1, :3] = 255
    by_colour = decode_image(media(encode_png(pixels)), mask=True)
    assert np.asarray(by_colour).tolist() == [[200, 0], [0, 255]]
