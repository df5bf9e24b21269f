"""A model that a source has: who it is, where it is, what its files say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard.records.models import Inspection, Source


@dataclass(frozen=True, slots=True)
class Found:
    """`path`: the folder with all its files, when they are on this machine. `revision`: the hub's commit."""

    model_id: str
    source: Source
    inspection: Inspection
    path: Path | None = None
    revision: str | None = None
