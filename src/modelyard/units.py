"""Units of memory and disk, and sizes in words."""

from __future__ import annotations

MIB = 1024**2
GIB = 1024**3


def gigabytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / MIB:.0f} MB"
