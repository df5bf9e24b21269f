"""What has been measured of models, at hand for every lookup. Owns the memory of it; the store keeps it for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.records.models import Measurement


class Measurements:
    """By model id, the latest measurement. Belongs to the event loop."""

    def __init__(self, known: Mapping[str, Measurement]) -> None:
        self._known = dict(known)

    def of(self, model_ids: Sequence[str]) -> Mapping[str, Measurement]:
        """Those of the models that have been measured."""
        return {model_id: self._known[model_id] for model_id in model_ids if model_id in self._known}

    def learn(self, model_id: str, measurement: Measurement) -> None:
        """Takes a measurement that counts from now on."""
        self._known[model_id] = measurement
