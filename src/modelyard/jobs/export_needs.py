"""What making a variant of a model takes: memory while it is made, and room on the disk. Pure."""

from __future__ import annotations

from modelyard.records.models import ModelCard
from modelyard.records.variants import VariantKind
from modelyard.units import GIB

EXPORT_FACTOR = 8.0
EXPORT_BYTES = GIB
"""What an export may hold: so many times the original's weights in 32 bits (the model, the graph twice, what the
quantiser makes of it and what it has read), and this much for libraries and samples. Measured with a model of 135
million parameters: 3.9 GB."""


def export_bytes(card: ModelCard) -> int:
    """What making a variant of a model may take."""
    return int(EXPORT_FACTOR * whole_bytes(card)) + EXPORT_BYTES


def variant_bytes(card: ModelCard, kind: VariantKind) -> int:
    """What a variant takes on the disk: its weights in 32 bits, or most of them in 8."""
    return whole_bytes(card) // 2 if kind == "onnx.8-bit" else whole_bytes(card)


def whole_bytes(card: ModelCard) -> int:
    """The model's weights in 32 bits."""
    parameters = card.inspection.parameters
    return 4 * parameters if parameters else card.inspection.weight_bytes or card.memory_bytes
