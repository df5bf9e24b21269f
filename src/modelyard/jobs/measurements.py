"""What has been measured of models, at hand for every lookup. Owns the memory of it; the store keeps it for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.records.models import Measurement, ModelCard
from modelyard.store.store import Store


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


class Growth:
    """Learns from replicas that held more than their model was thought to need."""

    def __init__(self, measurements: Measurements, store: Store, journal: Journal, clock: Clock) -> None:
        self._measurements = measurements
        self._store = store
        self._journal = journal
        self._clock = clock

    def note(self, card: ModelCard, held_bytes: int) -> None:
        """Takes it that a replica of the model held so much. Returns at once."""
        unmeasured = Measurement(0, card.inspection.weight_bytes)
        known = self._measurements.of([card.model_id]).get(card.model_id, unmeasured)
        if held_bytes > known.memory_bytes:
            self._measurements.learn(card.model_id, replace(known, memory_bytes=held_bytes))
            raising = partial(self._store.models.raise_memory, card.model_id, held_bytes, self._clock.now())
            self._journal.submit(raising)
