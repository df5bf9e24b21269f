"""Responses that are stored, so that another one can go on from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """`data`: the response, what it was asked with, and the conversation with both, as its surface wrote them."""

    id: str
    account_id: str
    created_at: datetime
    expires_at: datetime
    data: bytes
