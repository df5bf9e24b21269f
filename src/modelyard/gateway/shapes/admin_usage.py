"""What the admin API answers of usage: what accounts have used and what it costs, exactly.

Decimals are text; the sums are `accounts.usage`'s.
"""

from __future__ import annotations

from typing import Annotated

from modelyard.gateway.shapes.base import Shape, described

SECONDS = "seconds as text, with six decimals"
DOLLARS = "US dollars as text, exactly"


class UsedQuery(Shape, frozen=True, kw_only=True):
    """Whose use, and when."""

    account: Annotated[str | None, described("Only this account's, by its name or id.")] = None
    since: Annotated[str | None, described("From this ISO date or time on (UTC); by default this month.")] = None
    until: Annotated[str | None, described("Up to, not including, this date or time; by default now.")] = None


class UsedRow(Shape, frozen=True, kw_only=True):
    """What one account used of a model on one day."""

    account: Annotated[str, described("The name of the account.")]
    day: Annotated[str, described("YYYY-MM-DD, UTC.")]
    model: Annotated[str, described("The model.")]
    instances: Annotated[int, described("Instances that are billed in it.")]
    seconds: Annotated[str, described(f"Their time that counts: {SECONDS}.")]
    billed_seconds: Annotated[str, described("With the minimum, rounded up.")]
    gb_seconds: Annotated[str, described("Billed seconds × GB of required memory.")]
    requests: Annotated[int, described("Requests that instances worked on.")]
    inference_seconds: Annotated[str, described(f"The time they took: {SECONDS}.")]
    cost_usd: Annotated[str, described(f"{DOLLARS}.")]


class UsedLine(Shape, frozen=True, kw_only=True):
    """One instance on the bill."""

    account: Annotated[str, described("The name of the account.")]
    model: Annotated[str, described("The model.")]
    instance: Annotated[str, described("The instance.")]
    since: Annotated[str, described("When its time began. ISO 8601, UTC, microseconds, Z.")]
    until: Annotated[str, described("When its time ended, or its last heartbeat. ISO 8601, UTC, microseconds, Z.")]
    open: Annotated[bool, described("Whether it goes on.")]
    gb: Annotated[str, described("GB of memory that it holds.")]
    seconds: Annotated[str, described(f"Its time that counts: {SECONDS}.")]
    billed_seconds: Annotated[str, described("With the minimum, rounded up.")]
    gb_seconds: Annotated[str, described("Billed seconds × GB of required memory.")]
    cost_usd: Annotated[str, described(f"{DOLLARS}.")]
