"""How much is read between two steps, by what steps and tokens have taken."""

from __future__ import annotations

import pytest

from modelyard.worker.schedulers.pace import FEWEST_TOKENS, IDLE_TOKENS, PAUSE_STEPS, WHOLE_TOKENS, Pace


def measured(step_s: float, token_s: float) -> Pace:
    pace = Pace()
    for _ in range(20):
        pace.note_step(step_s)
        pace.note_piece(100, 100 * token_s)
    return pace


def test_a_piece_takes_as_long_as_the_steps_that_rows_may_wait() -> None:
    assert measured(0.040, 0.001).piece_tokens(writing=True) == pytest.approx(40 * PAUSE_STEPS, abs=1)


def test_while_nothing_is_written_there_is_no_hurry() -> None:
    assert measured(0.040, 0.001).piece_tokens(writing=False) == IDLE_TOKENS


@pytest.mark.parametrize("pace", [Pace(), measured(0.001, 0.1)], ids=["unknown", "slow reader"])
def test_a_piece_is_never_too_small_to_be_worth_a_pass(pace: Pace) -> None:
    assert pace.piece_tokens(writing=True) == FEWEST_TOKENS
    assert pace.whole_tokens(writing=True) == WHOLE_TOKENS


def test_dearer_tokens_count_sooner_than_cheaper_ones() -> None:
    dearer, cheaper = measured(0.1, 0.001), measured(0.1, 0.001)
    before = dearer.piece_tokens(writing=True)
    dearer.note_piece(100, 100 * 0.002)
    cheaper.note_piece(100, 100 * 0.0005)
    assert dearer.piece_tokens(writing=True) == pytest.approx(before / 2, abs=1)
    assert cheaper.piece_tokens(writing=True) < 1.25 * before
