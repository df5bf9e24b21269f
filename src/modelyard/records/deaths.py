"""How a replica ended, for those who had something on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Lack = Literal["limit", "machine"]
"""Whose memory was used up: what the worker may allocate, or all there is."""


@dataclass(frozen=True, slots=True)
class Death:
    """`reason`: for a person. `lack`: the memory it died for want of, None when it died of something else.
    `held_bytes`: what it was last seen to hold, None: not known; `limit_bytes`: what it could allocate, None: all.
    `host_died`: its node, or the process that had started it, ended: what it held has not caused that."""

    reason: str
    lack: Lack | None = None
    held_bytes: int | None = None
    limit_bytes: int | None = None
    host_died: bool = False
