"""Sounds as models hear them: decoded at the model's own rate, then its features. Owns no task."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from modelyard.media.media import Media
from modelyard.media.room import Room
from modelyard.media.sounds import decode_sound
from modelyard.tasks.base import Call, Inputs
from modelyard.tasks.model import Array, Model, TextModel
from modelyard.tasks.shared.lengths import media_size

EXAMPLE = (
    "UklGRrQBAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YZABAACAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJ"
    "yPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+A"
    "cWRcWFxkcYCPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZF"
    "xYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJyPgHFkXFhc"
    "ZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcYCPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRxgI+cpKiknI+AcWRcWFxkcY"
    "CPnKSopJyPgHFkXFhcZHGAj5ykqKScj4BxZFxYXGRx"
)
"""A WAV file of 50 ms, for examples."""


class SoundInputs(Inputs, frozen=True, kw_only=True):
    """One sound."""

    media: Annotated[Media, Meta(description="the sound: audio_url, url or base64 (WAV, FLAC, OGG, MP3, M4A)")]


def sound_length(call: Call[Any, Any]) -> int:
    """Bytes of the sound: near enough to seconds to put similar lengths together."""
    return media_size(call.inputs.media)


def feature_extractor(model: Model | TextModel) -> Any:
    """What turns samples into the model's features: the processor itself, or the part of it that hears."""
    return find_hearing_part(model.processor) or model.processor


def find_hearing_part(processor: Any) -> Any | None:
    """The part of a processor that hears; None where it reads sounds alone, or none."""
    parts = (getattr(processor, name, None) for name in ("feature_extractor", "audio_processor"))
    return next((part for part in parts if part is not None), None)


def sampling_rate(model: Model | TextModel) -> int:
    """Samples per second that the model wants."""
    return int(feature_extractor(model).sampling_rate)


def read_sound(model: Model | TextModel, media: Media, room: Room | None = None) -> Array:
    """The samples, (n,) float32, mono, at the model's rate. Raises InvalidRequest."""
    return decode_sound(media, sampling_rate(model), room)


def features_of(model: Model, sound: Array, **settings: Any) -> dict[str, Array]:
    """The model's arguments for one sound, a batch of one. `settings` go to the feature extractor."""
    features = feature_extractor(model)(sound, sampling_rate=sampling_rate(model), return_tensors="np", **settings)
    arrays = {name: np.asarray(array) for name, array in features.items()}
    return {name: array for name, array in arrays.items() if array.dtype != object}  # which are notes on the sound
