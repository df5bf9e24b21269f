from __future__ import annotations

import ctypes
import io
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from modelyard.media import encode
from modelyard.media.images import decode_image
from modelyard.media.videos import decode_video
from tests.media.files import gradient, media, tone

M_PERTURB = -6
"""Memory that is allocated is filled with a byte, and with another one when it is freed. Source: mallopt(3)."""


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_a_png_holds_the_very_pixels(shape: tuple[int, ...]):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode.encode_png(pixels)))), pixels)


def test_a_mask_becomes_black_and_white():
    mask = np.eye(6, dtype=bool)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode.encode_png(mask)))), mask * 255)


def test_depth_fills_sixteen_bits():
    depth = np.linspace(2.0, 12.0, 12).reshape(3, 4).astype(np.float32)
    image = Image.open(io.BytesIO(encode.encode_depth_png(depth)))
    assert image.mode == "I;16"
    np.testing.assert_allclose(np.asarray(image), (depth - 2) / 10 * 65535, atol=1)
    assert not np.asarray(Image.open(io.BytesIO(encode.encode_depth_png(np.full((2, 2), 3.0))))).any()


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 2), np.uint8)])
def test_other_arrays_are_no_png(array: np.ndarray):
    with pytest.raises(ValueError, match="no PNG"):
        encode.encode_png(array)


def test_a_wav_holds_the_samples_in_sixteen_bits():
    stereo = np.stack([tone(), np.zeros_like(tone())], axis=1)
    for samples in (tone(), stereo):
        read, rate = soundfile.read(io.BytesIO(encode.encode_wav(samples, 22_050)), dtype="float32")
        assert rate == 22_050
        np.testing.assert_allclose(read, samples, atol=1 / 32000)


def test_what_is_beyond_full_volume_is_clipped_and_what_is_no_number_is_silence():
    read, _ = soundfile.read(io.BytesIO(encode.encode_wav(np.array([3.0, -3.0, np.nan, 0.5]), 8000)), dtype="float32")
    np.testing.assert_allclose(read, [1.0, -1.0, 0.0, 0.5], atol=1e-3)


@pytest.mark.parametrize("fps", [8, 25, 29.97])
def test_an_mp4_is_h264_of_even_size_at_the_rate_asked_for(fps: float):
    frames = np.stack([gradient(41, 63)] * 10)
    data = encode.encode_mp4(frames, fps)
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 42)
        assert float(stream.average_rate) == pytest.approx(fps, rel=0.01)
    video = decode_video(media(data))
    assert video.total_frames == 10
    assert np.abs(video.frames[:, :41, :63].astype(int) - frames).mean() < 8


def test_the_same_frames_make_the_same_film_whatever_memory_held_before():
    dice = np.random.default_rng(5)
    moving = dice.integers(0, 256, (64, 96, 3))
    noisy = [np.roll(moving, 3 * each, axis=1) * 0.4 + dice.normal(60, 12, moving.shape) for each in range(5)]
    frames = np.clip(noisy, 0, 255).astype(np.uint8)
    libc = ctypes.CDLL(None)
    try:
        films = set()
        for filled_with in (1, 85, 170):
            libc.mallopt(M_PERTURB, filled_with)
            films.add(encode.encode_mp4(frames, 8))
    finally:
        libc.mallopt(M_PERTURB, 0)
    assert len(films) == 1


def test_what_a_task_makes_names_its_type():
    assert encode.made_png(gradient()).media_type == "image/png"
    assert encode.made_sound(tone(0.1), 8000).media_type == "audio/wav"
    assert encode.made_mp4(np.stack([gradient(8, 8)] * 2), 8).media_type == "video/mp4"
    assert decode_image(media(encode.made_png(gradient()).data)).size == (90, 61)


@pytest.mark.parametrize("name", ["mp3", "flac", "opus", "aac"])
@pytest.mark.parametrize("stereo", [False, True])
def test_a_sound_may_be_written_in_other_formats(name: Any, stereo: bool):
    samples = tone(0.5, 8000)
    sound = np.stack([samples, samples / 2], axis=1) if stereo else samples
    made = encode.made_sound(sound, 8000, name)
    with av.open(io.BytesIO(made.data)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate, layout = container.streams.audio[0].rate, container.streams.audio[0].layout.name
    assert made.media_type == encode.CODECS[name].media_type
    assert layout == ("stereo" if stereo else "mono")
    assert sum(frame.shape[-1] for frame in frames) / (2 if stereo and frames[0].shape[0] == 1 else 1) == pytest.approx(
        0.5 * rate, abs=2500
    )


def test_pcm_is_bare_samples_at_24_kilohertz():
    samples = tone(0.5, 8000)
    made = encode.made_sound(samples, 8000, "pcm")
    written = np.frombuffer(made.data, "<i2") / 32767
    assert len(written) == pytest.approx(12_000, abs=100)
    assert np.abs(written).max() == pytest.approx(np.abs(samples).max(), abs=0.05)
