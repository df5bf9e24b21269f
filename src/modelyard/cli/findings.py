"""What `modelyard doctor` finds: one line a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check came out."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `fix` says what to do about it, where that is not OK."""

    check: str
    level: Level
    found: str
    fix: str | None = None
