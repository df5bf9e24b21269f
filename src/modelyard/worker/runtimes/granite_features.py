"""What Granite Speech hears, without torchaudio, of which the library's own feature extractors take two formulas.

Releases of torchaudio are for one release of torch each. The formulas are those of its MelSpectrogram and its
`compute_deltas`, with their defaults.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature
from transformers.audio_utils import mel_filter_bank
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.models.granite_speech import feature_extraction_granite_speech as granite_speech
from transformers.models.granite_speech5.feature_extraction_granite_speech5 import (
    GraniteSpeech5FeatureExtractor as LibrarysFifth,
)

SMALLEST = 1e-10
"""Power, of which a logarithm is still taken."""
RANGE = 8.0
"""Powers of ten below the loudest that are told apart."""


class GraniteSpeechFeatureExtractor(granite_speech.GraniteSpeechFeatureExtractor):  # type: ignore[misc]
    """The library's, with its settings: what it saves is read as it is."""

    def __init__(
        self,
        sampling_rate: int = 16_000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        n_mels: int = 80,
        projector_window_size: int = 15,
        projector_downsample_rate: int = 5,
        padding_value: float = 0.0,
        feature_size: int | None = None,
        **more: Any,
    ) -> None:
        SequenceFeatureExtractor.__init__(
            self, feature_size=feature_size or n_mels, sampling_rate=sampling_rate, padding_value=padding_value, **more
        )
        self.melspec_kwargs = {
            "sample_rate": sampling_rate, "n_fft": n_fft, "win_length": win_length, "hop_length": hop_length,
            "n_mels": n_mels,
        }  # fmt: skip
        self.projector_window_size = projector_window_size
        self.projector_downsample_rate = projector_downsample_rate

    def __call__(self, audios: Any, device: str | None = "cpu", **_: Any) -> Any:
        """The features of each sound, (sounds, frames, 2 × mels), and how many places it takes in a text."""
        batch, lengths = self._get_audios_and_audio_lengths(audios)
        sizes = self._get_num_audio_features(lengths)
        places = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
        return BatchFeature(
            {
                "input_features": self.stack_frames(batch.to(device or "cpu").float()),
                "audio_embed_sizes": sizes,
                "input_features_mask": places,
            }
        )

    def stack_frames(self, sounds: torch.Tensor) -> torch.Tensor:
        """Logarithms of the mel spectrogram of `sounds`, (sounds, samples), two frames in one."""
        power = mel_power(sounds, **self.melspec_kwargs).transpose(1, 2)
        logarithms = power.clip(min=SMALLEST).log10()
        loudest = logarithms.amax(dim=(1, 2), keepdim=True)
        scaled = torch.maximum(logarithms, loudest - RANGE) / 4 + 1
        even = scaled[:, : scaled.shape[1] // 2 * 2]
        return even.reshape(len(even), -1, 2 * even.shape[2])


class GraniteSpeech5FeatureExtractor(LibrarysFifth):  # type: ignore[misc]
    """The same of Granite Speech 5, which is told the slopes of the logarithms as well."""

    def __init__(
        self,
        num_mel_bins: int = 80,
        sampling_rate: int = 16_000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        delta_win_length: int = 3,
        logmel_floor_db: float = RANGE,
        padding_value: float = 0.0,
        **more: Any,
    ) -> None:
        more["feature_size"] = num_mel_bins * self.delta_expansion * self.frame_stacking
        SequenceFeatureExtractor.__init__(self, sampling_rate=sampling_rate, padding_value=padding_value, **more)
        self.num_mel_bins = num_mel_bins
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.delta_win_length = delta_win_length
        self.logmel_floor_db = logmel_floor_db

    def _extract_features(self, audio: torch.Tensor, device: str | None = "cpu") -> torch.Tensor:
        """The features of `audio`, (sounds, samples): (sounds, frames, features), of so many frames of the spectrogram
        each as are stacked; what the last one lacks is silence."""
        together = self.frame_stacking
        frames = together * -(-(audio.shape[1] // self.hop_length) // together)
        lacking = max(0, (frames - 1) * self.hop_length + 1 - audio.shape[1])
        sounds = torch.nn.functional.pad(audio.to(device or audio.device).float(), (0, lacking))
        sizes = {"n_fft": self.n_fft, "win_length": self.win_length, "hop_length": self.hop_length}
        power = mel_power(sounds, sample_rate=self.sampling_rate, n_mels=self.num_mel_bins, **sizes)[..., :frames]
        logarithms = power.clip(min=SMALLEST).log10()
        loudest = logarithms.amax(dim=(1, 2), keepdim=True)
        scaled = torch.maximum(logarithms, loudest - self.logmel_floor_db) / 4 + 1
        both = torch.cat([scaled, slopes(scaled, self.delta_win_length)], dim=1).transpose(1, 2)
        return both.reshape(len(both), -1, together * both.shape[2])


def slopes(bands: torch.Tensor, width: int) -> torch.Tensor:
    """By how much each band rises around each frame, (sounds, bands, frames), by least squares over `width` frames; the
    first and the last one go on beyond the ends."""
    reach = (width - 1) // 2
    padded = torch.nn.functional.pad(bands, (reach, reach), mode="replicate")
    offsets = torch.arange(-reach, reach + 1, dtype=bands.dtype, device=bands.device)
    return (padded.unfold(2, width, 1) * offsets).sum(dim=3) / offsets.square().sum()


def mel_power(
    sounds: torch.Tensor, *, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int
) -> torch.Tensor:
    """The mel spectrogram of `sounds`, (sounds, samples): power, (sounds, mels, frames), every frame centred."""
    window = torch.hann_window(win_length, device=sounds.device)
    waves = torch.stft(
        sounds, n_fft, hop_length, win_length, window, center=True, pad_mode="reflect", return_complex=True
    )
    filters = mel_filter_bank(n_fft // 2 + 1, n_mels, 0.0, sample_rate / 2, sample_rate, norm=None, mel_scale="htk")
    return torch.from_numpy(filters).to(waves.device, torch.float32).T @ waves.abs().square()
