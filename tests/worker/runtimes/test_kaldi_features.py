"""What Fun-ASR hears is what Kaldi's formula makes of a sound, worked out here frame by frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from modelyard.worker.runtimes.processors import load_part
from tests.builders.recordings import noise

RATE, WINDOW, HOP, POINTS, MELS = 16_000, 400, 160, 512, 80
STORED = {"feature_extractor_type": "FunAsrNanoFeatureExtractor", "processor_class": "FunAsrNanoProcessor"}


def mel(hertz: np.ndarray) -> np.ndarray:
    """In mels, as Kaldi counts them."""
    return 1127 * np.log(1 + hertz / 700)


def bands(sound: np.ndarray) -> np.ndarray:
    """Logarithms of the mel bands of one sound: (frames, bands)."""
    starts = range(0, len(sound) - WINDOW + 1, HOP)
    frames = np.array([sound[start : start + WINDOW] for start in starts], np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))
    power = np.abs(np.fft.rfft((frames - 0.97 * before) * window, POINTS, axis=1)) ** 2
    corners = np.linspace(mel(np.array(20.0)), mel(np.array(RATE / 2)), MELS + 2)
    places = mel(np.linspace(0, RATE / 2, POINTS // 2 + 1))
    rising = (places - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - places) / (corners[2:] - corners[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.log(np.maximum(power @ triangles.T, np.finfo(np.float32).eps))


def test_features_are_those_of_the_formula(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(STORED))
    hears = load_part(tmp_path, "feature_extractor")
    sound = noise(1.0)
    expected = bands(sound)
    around = np.concatenate([expected[:1].repeat(3, 0), expected, expected[-1:].repeat(9, 0)])
    stacked = np.array([around[start : start + 7].reshape(-1) for start in range(0, len(expected), 6)])
    made = hears(sound, sampling_rate=RATE, return_tensors="pt")
    np.testing.assert_allclose(made["input_features"][0].numpy(), stacked, atol=1e-3)
    assert made["input_features_mask"].tolist() == [[1] * len(stacked)]
