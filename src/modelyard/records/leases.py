"""What one server of several holds while it leads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LeaderAddress:
    """Where a server is followed while it leads, each as `host:port`: `frames` by gateways, `calls` by what they pass
    on. `secret`: what they show at both; `tls`: whether both take connections with TLS only."""

    frames: str
    calls: str
    secret: str
    tls: bool = False

    @property
    def kind(self) -> str:
        """Of their addresses; see `engine.doors.open_connection`."""
        return "tls" if self.tls else "tcp"


NOWHERE = LeaderAddress("", "", "")
"""Of a server that nobody can follow."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`token`: higher for each server that has led. `holder`: that server, by its id; `holder_name`: as people read
    it. `until`: when it ends unless it is renewed, by the database's clock. `address`: where it is followed."""

    token: int
    holder: str
    holder_name: str
    until: datetime
    address: LeaderAddress = NOWHERE
