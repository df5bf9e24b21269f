"""Pieces for a client that reads at its own pace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.protocol import PIECE_WEIGHT, WINDOW, CalledPiece, Thought, weight_of
from modelyard.worker.pieces import PieceWindow


@given(st.lists(st.one_of(st.text(max_size=40), st.integers(0, WINDOW).map("é".__mul__)), max_size=30), st.data())
def test_everything_arrives_in_order_and_never_more_than_the_window(pieces: list[str], data: st.DataObject):
    sent: list[str] = []
    ends: list[int] = []
    window = PieceWindow(sent.append)
    taken = 0
    for piece in pieces:
        window.add(piece)
        assert sum(map(weight_of, sent[taken:])) <= WINDOW
        if data.draw(st.booleans()) and taken < len(sent):
            window.widen(weight_of(sent[taken]))
            taken += 1
    window.finish(lambda: ends.append(len(sent)))
    while taken < len(sent):
        window.widen(weight_of(sent[taken]))
        taken += 1
        assert sum(map(weight_of, sent[taken:])) <= WINDOW
    assert "".join(sent) == "".join(pieces)
    assert ends == [len(sent)]


def test_what_nobody_reads_any_more_is_forgotten_and_the_end_comes_at_once():
    sent: list[str] = []
    ends: list[bool] = []
    window = PieceWindow(sent.append)
    for _ in range(4):
        window.add("x" * (WINDOW - PIECE_WEIGHT))
    window.finish(lambda: ends.append(True))
    assert (len(sent), ends) == (1, [])
    window.give_up()
    assert (len(sent), ends) == (1, [True])
    window.add("more")
    window.widen(WINDOW)
    assert sent[1:] in ([], ["more"])
    assert ends == [True]


def test_pieces_of_calls_keep_whose_they_are_though_they_wait_or_are_cut():
    sent: list[str] = []
    window = PieceWindow(sent.append)
    long = "1" * (WINDOW - PIECE_WEIGHT)
    window.add(long)
    for piece in (CalledPiece("{", 0, "a1", "f"), CalledPiece(long, 0), Thought("hm"), CalledPiece("{}", 1, "b2", "g")):
        window.add(piece)
    assert sent == [long]
    window.widen(WINDOW)
    window.widen(WINDOW)
    calls = [each for each in sent if isinstance(each, CalledPiece)]
    assert [(each.id, each.name) for each in calls if each.name] == [("a1", "f"), ("b2", "g")]
    assert ["".join(each for each in calls if each.number == number) for number in (0, 1)] == ["{" + long, "{}"]
    assert [type(each) for each in sent if not isinstance(each, CalledPiece)] == [str, Thought]
