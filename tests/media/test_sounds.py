from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.media import sounds
from modelyard.media.sounds import decode_sound
from tests.media.files import RATE, counting_frames, m4a_file, media, sound_file, tone, video_file


def loudness(samples: np.ndarray[Any, Any]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples))))


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_is_resampled_to_the_rate_asked_for(rate: int, subtype: str) -> None:
    samples = decode_sound(media(sound_file(tone(), "WAV", subtype)), rate)
    assert samples.dtype == np.float32
    assert abs(samples.size - rate) <= 1
    edge = rate // 100
    error = samples[edge : rate - edge] - tone(rate=rate)[edge : rate - edge]
    assert np.abs(error).max() < (0.02 if subtype == "PCM_U8" else 0.001)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("WAV", "ULAW")])
def test_every_format_gives_the_tone_that_went_in(kind: str, subtype: str | None) -> None:
    samples = decode_sound(media(sound_file(tone(), kind, subtype)), 16_000)
    assert abs(samples.size - 16_000) < 1200
    assert np.abs(samples[800:14_000] - tone(rate=16_000)[800:14_000]).max() < 0.05


def test_opus_gives_the_tone_that_went_in() -> None:
    samples = decode_sound(media(sound_file(tone(rate=48_000), "OGG", "OPUS", 48_000)), 16_000)
    assert abs(samples.size - 16_000) < 400
    assert loudness(samples) == pytest.approx(loudness(tone()), rel=0.02)


def test_aac_gives_the_tone_that_went_in() -> None:
    samples = decode_sound(media(m4a_file(tone())), 16_000)
    assert abs(samples.size - 16_000) < 1200
    assert loudness(samples[1000:-1000]) == pytest.approx(loudness(tone()), rel=0.02)


def test_sound_beyond_the_new_rate_is_filtered_out_rather_than_folded_back() -> None:
    high = (0.5 * np.sin(2 * np.pi * 15_000 * np.arange(RATE) / RATE)).astype(np.float32)
    assert loudness(decode_sound(media(sound_file(high, "WAV", "FLOAT")), 16_000)[500:-500]) < 0.002


@pytest.mark.parametrize("channels", [2, 6, 8, 9, 64])
def test_channels_are_averaged(channels: int) -> None:
    parts = np.zeros((RATE, channels), np.float32)
    parts[:, 0] = tone()
    samples = decode_sound(media(sound_file(parts, "WAV", "FLOAT")), RATE)
    np.testing.assert_allclose(samples[500:-500], tone()[500:-500] / channels, atol=1e-4)


@pytest.mark.parametrize("channels", [65, 600])
def test_more_channels_than_can_be_averaged_are_refused_by_number(channels: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"^audio_url: got '?{channels} channels'?; accepted: at most 64"):
        decode_sound(media(sound_file(np.zeros((100, channels), np.float32), "WAV"), "audio_url"), RATE)


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx")])
def test_sound_is_taken_from_a_video(kind: str, codec: str) -> None:
    if kind == "mp4":
        data = video_file(counting_frames(25), kind=kind, codec=codec, samples=tone())
        samples = decode_sound(media(data), 16_000)
        assert abs(samples.size - 16_000) < 1200
    else:
        with pytest.raises(InvalidRequest, match="this WebM file holds no sound"):
            decode_sound(media(video_file(counting_frames(25), kind=kind, codec=codec)), 16_000)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", None)])
def test_a_file_that_is_cut_off_is_refused_by_name(kind: str, subtype: str | None, keep: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    data = sound_file(noise, kind, subtype)
    with pytest.raises(InvalidRequest, match=r"^audio_url: .* cut off"):
        decode_sound(media(data[: int(len(data) * keep)], "audio_url"), 16_000)


def test_a_wav_written_to_a_pipe_needs_no_size_in_its_header() -> None:
    data = bytearray(sound_file(tone(), "WAV", "PCM_16"))
    place = data.index(b"data")
    data[4:8] = data[place + 4 : place + 8] = b"\xff\xff\xff\xff"
    assert abs(decode_sound(media(bytes(data)), 16_000).size - 16_000) <= 1


def test_a_recording_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MAX_SOUND_S", 0.5)
    for kind in ("WAV", "FLAC", "MP3", "OGG"):
        with pytest.raises(InvalidRequest, match="accepted: at most"):
            decode_sound(media(sound_file(tone(2.0), kind)), 16_000)


def test_a_wav_of_impossible_rate_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="got '10 samples per second'"):
        decode_sound(media(sound_file(tone(), "WAV", "PCM_16", rate=10)), 16_000)


def test_a_wav_without_samples_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="holds no samples"):
        decode_sound(media(sound_file(np.zeros(0, np.float32), "WAV", "PCM_16")), 16_000)


def test_random_damage_never_raises_anything_but_invalid_request() -> None:
    random = np.random.default_rng(1)
    for data in (sound_file(tone(0.3), "WAV"), sound_file(tone(0.3), "FLAC"), sound_file(tone(0.3), "MP3"),
                 sound_file(tone(0.3), "OGG"), m4a_file(tone(0.3))):  # fmt: skip
        for _ in range(30):
            damaged = bytearray(data)
            for place in random.integers(12, len(data), 6):
                damaged[place] = random.integers(256)
            with suppress(InvalidRequest):
                decode_sound(media(bytes(damaged)), 16_000)
