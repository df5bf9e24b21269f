"""Units of memory and disk, and sizes in words."""

from __future__ import annotations

MIB = 1024**2
GIB = 1024**3


def gigabytes(count: int) -> str:
    """Bytes for a person. Below a gigabyte in MB: what is wanted and what is free may differ by a few of them."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / MIB:.0f} MB"
