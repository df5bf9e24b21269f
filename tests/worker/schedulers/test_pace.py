"""How much is read between two steps, by what steps and tokens have taken."""

from __future__ import annotations

import pytest

from modelyard.worker.schedulers.pace import FEWEST_TOKENS, IDLE_TOKENS, PAUSE_STEPS, WHOLE_TOKENS, Pace

PASS_S = 0.010


def measured(step_s: float, token_s: float) -> Pace:
    """After steps and pieces of 100 tokens, of which any pass takes PASS_S."""
    pace = Pace()
    for _ in range(20):
        pace.note_step(step_s)
        pace.note_piece(100, PASS_S + 100 * token_s)
        pace.note_piece(1, PASS_S)
    return pace


def test_a_piece_takes_as_long_as_the_steps_that_rows_may_wait() -> None:
    tokens = measured(0.040, 0.001).piece_tokens(written=4)
    assert PASS_S + tokens * 0.001 == pytest.approx(0.040 * PAUSE_STEPS, rel=0.15)


def test_the_few_tokens_at_a_prompts_end_tell_nothing_of_what_tokens_cost() -> None:
    pace = measured(0.040, 0.001)
    before = pace.piece_tokens(written=4)
    for _ in range(5):
        pace.note_piece(2, PASS_S + 2 * 0.001)
    assert pace.piece_tokens(written=4) == pytest.approx(before, rel=0.05)


def test_small_pieces_tell_as_much_as_large_ones() -> None:
    small = measured(0.040, 0.001)
    before = small.piece_tokens(written=4)
    for _ in range(10):
        small.note_piece(FEWEST_TOKENS, PASS_S + FEWEST_TOKENS * 0.001)
    assert small.piece_tokens(written=4) == pytest.approx(before, rel=0.15)


def test_while_nothing_is_written_there_is_no_hurry() -> None:
    assert measured(0.040, 0.001).piece_tokens(written=0) == IDLE_TOKENS


def test_where_more_wait_to_be_read_than_are_written_more_is_read() -> None:
    pace = measured(0.040, 0.001)
    assert pace.piece_tokens(written=4, unread=4) == pace.piece_tokens(written=4)
    assert PASS_S + pace.piece_tokens(written=4, unread=12) * 0.001 == pytest.approx(3 * 0.040 * PAUSE_STEPS, rel=0.1)
    assert pace.piece_tokens(written=1, unread=15) == IDLE_TOKENS


@pytest.mark.parametrize("pace", [Pace(), measured(0.001, 0.1)], ids=["unknown", "slow reader"])
def test_a_piece_is_never_too_small_to_be_worth_a_pass(pace: Pace) -> None:
    assert pace.piece_tokens(written=4) == FEWEST_TOKENS
    assert pace.whole_tokens(written=4) == WHOLE_TOKENS


def test_dearer_tokens_count_sooner_than_cheaper_ones() -> None:
    dearer, cheaper = measured(0.1, 0.001), measured(0.1, 0.001)
    before = dearer.piece_tokens(written=4)
    dearer.note_piece(100, PASS_S + 100 * 0.002)
    cheaper.note_piece(100, PASS_S + 100 * 0.0005)
    assert dearer.piece_tokens(written=4) == pytest.approx(before / 2, rel=0.05)
    assert cheaper.piece_tokens(written=4) < 1.25 * before


@pytest.mark.parametrize(
    ("step_s", "pass_s", "token_s"), [(0.020, 0.012, 0.00033), (0.115, 0.060, 0.0016)], ids=["27M", "SmolLM2"]
)
@pytest.mark.parametrize("dearer", [1.0, 3.0], ids=["short context", "attention counts"])
@pytest.mark.parametrize("others", [0, 1, 20], ids=["first prompt", "another before", "many before"])
def test_no_piece_of_a_long_prompt_takes_longer_than_rows_may_wait(
    step_s: float, pass_s: float, token_s: float, dearer: float, others: int
) -> None:
    """Costs of one thread, as measured. `dearer`: what the last of 4,000 tokens costs, in times of the first."""
    pace = Pace()
    pace.note_step(step_s)
    for _ in range(others):
        pace.note_piece(480, pass_s + 480 * token_s)  # sixteen short prompts at once, which cost least for each token
    read, longest_s = 0, 0.0
    while read < 4000:
        tokens = min(pace.piece_tokens(written=4), 4000 - read)
        took_s = pass_s + tokens * token_s * (1 + (dearer - 1) * read / 4000)
        pace.note_piece(tokens, took_s)
        pace.note_step(step_s)
        read, longest_s = read + tokens, max(longest_s, took_s)
    assert longest_s + step_s <= 4 * step_s
