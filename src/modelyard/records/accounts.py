"""Accounts, their keys and what they may have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns keys, clusters and bills. Limits that are None do not exist.

    `max_instances`, `max_memory_bytes`: of its replicas together; `max_concurrent`: its requests under way at once;
    `max_models`: its clusters; `max_disk_bytes`: of the hub's files that were downloaded for it. `weight`: how much of
    the machines it is to have beside other accounts, where not all can have what they want; None: 1. Money is in
    billionths of a US dollar: `credit_nano` is all that was ever paid in advance (None: billed afterwards),
    `monthly_limit_nano` the most it may spend in a calendar month (UTC).
    """

    id: str
    name: str
    created_at: datetime
    max_instances: int | None = None
    max_memory_bytes: int | None = None
    max_concurrent: int | None = None
    max_models: int | None = None
    max_disk_bytes: int | None = None
    credit_nano: int | None = None
    monthly_limit_nano: int | None = None
    weight: int | None = None


class AccountLimits(TypedDict, total=False):
    """Limits of an account that are to change, as `Account` explains them; None: no limit."""

    max_instances: int | None
    max_memory_bytes: int | None
    max_concurrent: int | None
    max_models: int | None
    max_disk_bytes: int | None
    monthly_limit_nano: int | None
    weight: int | None


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may have at once; None: as much as there is. `instances` and `memory_bytes` are of all its
    replicas together, `models` its clusters, `concurrent` its requests under way, `disk_bytes` of the hub's files that
    were downloaded for it; `weight`: its part beside those of others."""

    instances: int | None = None
    memory_bytes: int | None = None
    concurrent: int | None = None
    models: int | None = None
    disk_bytes: int | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as stored: never the key itself. `prefix` is its first characters, to recognise it by.

    `rate_limit`: requests it may make per minute; None: what the server's settings say, 0: no limit.
    """

    id: str
    account_id: str
    name: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None = None
    rate_limit: int | None = None
