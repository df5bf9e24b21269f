"""What the chaos finds wrong with a bill, given lives and answers that are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.bill import HEARTBEAT_S, NOTICED_S, WRITTEN_S, Bill, Billed, End
from tests.chaos.lives import Lives
from tests.chaos.load import Answered, Outcomes

ONE = (7, 100)
BEGAN, ENDED = 50.0, 90.0
CUT = End(at=ENDED, gone_at=ENDED, written_until=ENDED)
BEFORE = End(at=BEGAN - 2, gone_at=BEGAN - 1, written_until=BEGAN - 2)


def bill(
    *lines: Billed, ends: Sequence[End] = (), answered: dict[str, Answered] | None = None, kept: Sequence[str] = ()
) -> Bill:
    """Of one process, which lived 40 seconds."""
    lives = Lives({ONE: BEGAN}, {ONE: ENDED})
    outcomes = Outcomes(asked=Counter(ada=2), answered=answered or {})
    return Bill(lives, outcomes, ends, lines, Counter(ada=len(kept)), frozenset(kept), NOTICED_S)


def line(seconds: float, name: str = "a", process: tuple[int, int] | None = ONE) -> Billed:
    return Billed(name, process, seconds)


@pytest.mark.parametrize("seconds", [40.0, 40.0 - NOTICED_S, 40.0 + NOTICED_S])
def test_a_life_that_is_billed_as_it_was_is_right(seconds: float) -> None:
    assert [*bill(line(seconds)).problems()] == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "lived 40.00 s, 0.00 s are billed"),
        ([line(38.9)], "lived 40.00 s, 38.90 s are billed"),
        ([line(41.1)], "lived 40.00 s, 41.10 s are billed"),
        ([line(40.0), line(0.0)], "an instance is billed twice"),
        ([line(40.0), line(40.0, "b")], "a process is billed twice"),
        ([line(40.0), line(3.0, "b", (8, 100))], "b is billed 3.00 s, and nobody saw it"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(lines: Sequence[Billed], problem: str) -> None:
    assert problem in "\n".join(bill(*lines).problems())


def test_a_life_that_an_end_of_the_server_cut_off_may_lack_one_heartbeat() -> None:
    least_s = 40.0 - HEARTBEAT_S - NOTICED_S
    assert [*bill(line(least_s), ends=[CUT]).problems()] == []
    assert [*bill(line(least_s - 0.1), ends=[CUT]).problems()] != []
    assert [*bill(line(least_s), ends=[BEFORE]).problems()] != []


def test_a_life_whose_end_nobody_could_tell_may_be_billed_until_somebody_could() -> None:
    late = replace(bill(line(43.0)), frozen=[(ENDED - 1, ENDED + 3)])
    assert [*late.problems()] == []
    assert [*replace(late, frozen=[(ENDED - 3, ENDED - 1)]).problems()] != []


def test_an_answer_is_on_the_bill_unless_its_server_ended_before_it_was_written() -> None:
    late, early = Answered("ada", ENDED - WRITTEN_S / 2), Answered("ada", ENDED - 2 * WRITTEN_S)
    assert [*bill(line(40.0), answered={"x": late}, ends=[CUT]).problems()] == []
    assert "x was answered" in "\n".join(bill(line(40.0), answered={"x": early}, ends=[CUT]).problems())
    assert "x was answered" in "\n".join(bill(line(40.0), answered={"x": late}).problems())
    assert [*bill(line(40.0), answered={"x": early}, kept=["x"]).problems()] == []


def test_nobody_pays_for_more_than_was_asked() -> None:
    assert "ada asked 2 times, and pays for 3" in "\n".join(bill(line(40.0), kept=["x", "y", "z"]).problems())
