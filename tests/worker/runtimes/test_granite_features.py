"""What Granite Speech hears is what torchaudio's formula makes of a sound, worked out here frame by frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelyard.worker.runtimes.granite_features import GraniteSpeech5FeatureExtractor, GraniteSpeechFeatureExtractor
from modelyard.worker.runtimes.processors import load_part
from tests.builders.recordings import noise

RATE, WINDOW, HOP, POINTS, MELS = 16_000, 400, 160, 512, 80


def mel(frequency: np.ndarray) -> np.ndarray:
    """In mels, as HTK counts them."""
    return 2595 * np.log10(1 + frequency / 700)


def triangles() -> np.ndarray:
    """What each mel takes of each frequency: (mels, frequencies)."""
    corners = np.linspace(0, mel(np.array(RATE / 2)), MELS + 2)
    hertz = 700 * (10 ** (corners / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, POINTS // 2 + 1)
    rising = (frequencies - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    falling = (hertz[2:, None] - frequencies) / (hertz[2:] - hertz[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))


def scaled_logarithms(sound: np.ndarray) -> np.ndarray:
    """Of the spectrogram of one sound: (frames, mels)."""
    padded = np.pad(sound.astype(np.float64), POINTS // 2, mode="reflect")
    window = np.zeros(POINTS)
    window[(POINTS - WINDOW) // 2 :][:WINDOW] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = [padded[begin : begin + POINTS] * window for begin in range(0, len(sound) + 1, HOP)]
    power = np.abs(np.fft.rfft(np.array(frames), axis=1)) ** 2 @ triangles().T
    logarithms = np.log10(np.maximum(power, 1e-10))
    return np.maximum(logarithms, logarithms.max() - 8) / 4 + 1


def expected(sound: np.ndarray) -> np.ndarray:
    """The features of one sound: (frames, 2 × mels)."""
    scaled = scaled_logarithms(sound)
    return scaled[: len(scaled) // 2 * 2].reshape(-1, 2 * MELS)


@pytest.mark.parametrize("seconds", [0.31, 1.0])
def test_features_are_those_of_the_formula(seconds: float) -> None:
    sound = noise(seconds)
    made = GraniteSpeechFeatureExtractor()([sound])
    np.testing.assert_allclose(made["input_features"][0].numpy(), expected(sound), atol=1e-4)
    assert made["audio_embed_sizes"] == [3 * -(-len(made["input_features"][0]) // 15)]
    assert made["input_features_mask"].tolist() == [[True] * made["audio_embed_sizes"][0]]


def test_the_fifth_is_told_slopes_too() -> None:
    sound = noise(1.0)  # of 100 frames, so that none is filled up
    scaled = scaled_logarithms(sound)[:100]
    further = np.pad(scaled, ((1, 1), (0, 0)), mode="edge")
    features = np.concatenate([scaled, (further[2:] - further[:-2]) / 2], axis=1).reshape(50, -1)
    made = GraniteSpeech5FeatureExtractor()(sound, sampling_rate=RATE, return_tensors="pt")
    np.testing.assert_allclose(made["input_features"][0].numpy(), features, atol=1e-4)
    assert made["attention_mask"].tolist() == [[1] * 50]


def test_it_is_loaded_from_what_the_library_saves(tmp_path: Path) -> None:
    stored = {
        "feature_extractor_type": "GraniteSpeechFeatureExtractor", "processor_class": "GraniteSpeechProcessor",
        "projector_downsample_rate": 5, "projector_window_size": 20, "sampling_rate": RATE,
        "melspec_kwargs": {"sample_rate": RATE, "n_fft": POINTS, "win_length": WINDOW, "n_mels": MELS},
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stored))
    part = load_part(tmp_path, "audio_processor")
    assert isinstance(part, GraniteSpeechFeatureExtractor)
    assert part([noise(1.0)])["audio_embed_sizes"] == [3 * 4]
    assert json.loads(part.to_json_string())["feature_extractor_type"] == stored["feature_extractor_type"]
