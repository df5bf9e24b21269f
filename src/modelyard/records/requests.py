"""Requests as they were metered."""

from __future__ import annotations

from datetime import datetime

import msgspec


class RequestRecord(msgspec.Struct, frozen=True):
    """One request as it was metered. `settled_at` None: it is under way, or its server was killed.

    `at`: when it came; `took_us`: microseconds that a replica spent on it; `outcome`: answered, failed, cancelled, or
    lost when its replica or server died. Money in billionths of a US dollar: `reserved_nano` counts as spent until it
    is settled, `cost_nano` is its memory × time, `charged_nano` the part of that which is on the bill. `server_id`: the
    server that it came to. `prompt_tokens`, `new_tokens`: what the model read and wrote, where it tells.
    """

    id: str
    account_id: str
    model_id: str
    memory_bytes: int
    at: datetime
    key_id: str | None = None
    instance_id: str | None = None
    settled_at: datetime | None = None
    outcome: str | None = None
    took_us: int = 0
    reserved_nano: int = 0
    cost_nano: int = 0
    charged_nano: int = 0
    server_id: str | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
