"""What Fun-ASR hears, without torchaudio, of which the library's own feature extractor takes one formula: Kaldi's mel
bands, which the library can compute itself.
"""

from __future__ import annotations

import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from transformers.models.fun_asr_nano.feature_extraction_fun_asr_nano import (
    FunAsrNanoFeatureExtractor as LibrarysFeatureExtractor,
)

PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
SMALLEST = float(torch.finfo(torch.float32).eps)
"""Power, of which a logarithm is still taken."""


class FunAsrNanoFeatureExtractor(LibrarysFeatureExtractor):  # type: ignore[misc]  # the library is untyped
    """The library's, with its settings: what it saves is read as it is."""

    def _extract_fbank_features(self, waveform: torch.Tensor) -> torch.Tensor:
        """Logarithms of the mel bands of `waveform`, (samples,): (frames, bands)."""
        samples, step = (self.sampling_rate * ms // 1000 for ms in (self.frame_length, self.frame_shift))
        bins = 1 << (samples - 1).bit_length()
        filters = mel_filter_bank(
            num_frequency_bins=bins // 2 + 1,
            num_mel_filters=self.feature_size,
            min_frequency=LOWEST_HZ,
            max_frequency=self.sampling_rate / 2,
            sampling_rate=self.sampling_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        bands = spectrogram(
            waveform.numpy(),
            window_function(samples, self.window, periodic=False),
            frame_length=samples,
            hop_length=step,
            fft_length=bins,
            power=2.0,
            center=False,
            preemphasis=PREEMPHASIS,
            mel_filters=filters,
            log_mel="log",
            mel_floor=SMALLEST,
            remove_dc_offset=True,
        )
        return torch.from_numpy(bands.T).float()
