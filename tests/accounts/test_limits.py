"""What an account's funds allow, to the last unit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.accounts.limits import check_funds
from modelyard.errors import PaymentRequired
from modelyard.records.accounts import Account
from tests.clock import START

ADA = Account("acc_1", "ada", START)


@pytest.mark.parametrize(
    ("credit", "limit", "spent", "month", "need", "refused"),
    [
        (None, None, 10**18, 10**18, 10**9, False),
        (100, None, 99, 99, 0, False),
        (100, None, 100, 0, 0, True),
        (0, None, 0, 0, 0, True),
        (100, None, 60, 0, 40, False),
        (100, None, 60, 0, 41, True),
        (None, 100, 500, 99, 0, False),
        (None, 100, 500, 100, 0, True),
        (None, 100, 500, 60, 41, True),
        (1000, 100, 500, 100, 0, True),
    ],
)
def test_funds_are_used_up_at_exactly_zero(
    credit: int | None, limit: int | None, spent: int, month: int, need: int, refused: bool
) -> None:
    account = replace(ADA, credit_nano=credit, monthly_limit_nano=limit)
    if refused:
        with pytest.raises(PaymentRequired, match=r"ada has spent \$") as caught:
            check_funds(account, spent_nano=spent, month_nano=month, need_nano=need)
        assert caught.value.data["cause"] == ("credit" if limit is None else "monthly limit")
    else:
        check_funds(account, spent_nano=spent, month_nano=month, need_nano=need)
