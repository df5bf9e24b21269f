"""What a terminal is told to do about an error of this process."""

import pytest

from modelyard.cli.problems import describe
from modelyard.errors import ModelRefused, ModelyardError, StoreUnavailable, Unavailable
from modelyard.records.models import UNSAFE

CASES: list[tuple[ModelyardError, str]] = [
    (Unavailable("The data folder /x cannot be made.", cause="data folder"), "--data-dir"),
    (Unavailable("Another modelyard server uses /x.", cause="data folder taken"), "--data-dir"),
    (Unavailable("SQLite 3.1 is too old.", cause="old SQLite"), "--database-url"),
    (StoreUnavailable("/x is not a SQLite database.", cause="another file"), "--data-dir"),
    (StoreUnavailable("PostgreSQL at /x cannot answer.", cause="no answer"), "--database-url"),
    (StoreUnavailable("PostgreSQL at /x: permission denied.", cause="no right"), "--database-url"),
    (StoreUnavailable("The disk that holds /x is full.", cause="disk full"), "--min-free-mb"),
    (ModelRefused("acme/old has only pickle files.", cause=UNSAFE, model="acme/old"), "--allow-unsafe acme/old"),
]


@pytest.mark.parametrize(("error", "fix"), CASES, ids=lambda value: str(value)[:30])
def test_the_fix_names_the_flag_that_the_error_does_not(error: ModelyardError, fix: str) -> None:
    problem = describe(error)
    assert problem.sentence == str(error)
    assert fix in (problem.fix or "")


def test_a_refusal_that_nobody_can_accept_has_no_fix() -> None:
    assert describe(ModelRefused("acme/cut is cut off.", cause=None, model="acme/cut")).fix is None
