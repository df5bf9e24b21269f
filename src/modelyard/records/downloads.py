"""What this server has downloaded into the hub's cache."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DownloadRecord:
    """The files of one model in the hub's cache, as of the last download of any of them.

    `account_id`: whose request had them downloaded. `mark`: what the file beside them says that tells them from files
    which another tool has put there since. `size_bytes`: what they take up once they are all here; `others_bytes`: the
    part of it that other tools had put there. `used_at`: when a replica last began or ended with them.
    """

    model_id: str
    account_id: str
    mark: str
    size_bytes: int
    others_bytes: int
    used_at: datetime
