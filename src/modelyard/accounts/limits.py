"""How large the limits of an account or a key may be, and what an account's funds allow. Pure."""

from __future__ import annotations

from modelyard.errors import InvalidRequest, PaymentRequired
from modelyard.money import NANO, dollars
from modelyard.records.accounts import Account, AccountLimits
from modelyard.units import GIB

MOST_COUNT = 10**9
"""The largest count: the columns that hold counts are signed and have 32 bits."""
MOST_MEMORY_BYTES = 10**6 * GIB
MOST_DISK_BYTES = MOST_MEMORY_BYTES
MOST_WEIGHT = 1000
MOST_USD = 10**9
"""The most that is paid in or spent in a month: as billionths it fits a signed column of 64 bits nine times over."""

MOST = {
    "max_instances": MOST_COUNT,
    "max_memory_bytes": MOST_MEMORY_BYTES,
    "max_concurrent": MOST_COUNT,
    "max_models": MOST_COUNT,
    "max_disk_bytes": MOST_DISK_BYTES,
    "monthly_limit_nano": MOST_USD * NANO,
    "weight": MOST_WEIGHT,
}
"""An account's limit → its largest value."""
LEAST = {"weight": 1}
"""Its least, where that is not 0."""
NONE = {"weight": "none: 1"}
"""What it is where there is none."""


def check_limits(limits: AccountLimits) -> None:
    """Raises InvalidRequest, naming the field, for a limit that is too small or too large."""
    for name, most in MOST.items():
        value, least = limits.get(name), LEAST.get(name, 0)
        if isinstance(value, int) and not least <= value <= most:
            raise InvalidRequest(field=name, got=value, accepted=f"{least} to {most}, or {NONE.get(name, 'no limit')}")


def check_rate_limit(rate_limit: int | None) -> None:
    """Raises InvalidRequest for requests per minute that no key can have."""
    if rate_limit is not None and not 0 <= rate_limit <= MOST_COUNT:
        raise InvalidRequest(field="rate_limit", got=rate_limit, accepted=f"0 (no limit) to {MOST_COUNT}")


def check_funds(account: Account, *, spent_nano: int, month_nano: int, need_nano: int = 0) -> None:
    """Whether an account may begin something that costs `need_nano`, and in any case a little.

    `spent_nano`: what it has spent in all its time; `month_nano`: in this month. Raises PaymentRequired.
    """
    need_nano = max(1, need_nano)
    credit, limit = account.credit_nano, account.monthly_limit_nano
    if credit is not None and spent_nano + need_nano > credit:
        raise PaymentRequired(
            f"{account.name} has spent {dollars(spent_nano)} of its credit of {dollars(credit)}"
            f"{too_little(need_nano, credit - spent_nano)}.",
            cause="credit",
            spent_nano=spent_nano,
            credit_nano=credit,
        )
    if limit is not None and month_nano + need_nano > limit:
        raise PaymentRequired(
            f"{account.name} has spent {dollars(month_nano)} this month, of its monthly limit of {dollars(limit)}"
            f"{too_little(need_nano, limit - month_nano)}.",
            cause="monthly limit",
            spent_nano=month_nano,
            limit_nano=limit,
        )


def too_little(need_nano: int, left_nano: int) -> str:
    """What a sentence adds where something is left, but not enough."""
    return f"; beginning this needs {dollars(need_nano)} set aside" if left_nano > 0 else ""
