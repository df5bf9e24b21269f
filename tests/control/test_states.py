"""The states of a replica and the words for a cluster."""

import itertools

import pytest

from modelyard.control.replicas import Replica
from modelyard.control.states import (
    HOLDS_MEMORY,
    LIVE,
    TRANSITIONS,
    IllegalMove,
    ReplicaState,
    check_move,
    cluster_status,
)
from modelyard.control.states import ClusterStatus as Word

Q, ST, LO, RE, DR, SP, FA = ReplicaState
LEGAL = {
    (Q, ST), (Q, SP), (Q, FA),
    (ST, LO), (ST, RE), (ST, DR), (ST, SP), (ST, FA),
    (LO, RE), (LO, DR), (LO, SP), (LO, FA),
    (RE, DR), (RE, SP), (RE, FA),
    (DR, SP), (DR, FA),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [*itertools.product(ReplicaState, ReplicaState)])
def test_a_replica_moves_along_the_table_and_no_other_way(old: ReplicaState, new: ReplicaState) -> None:
    replica = Replica("r", since=0.0, state=old)
    if (old, new) in LEGAL:
        check_move(old, new)
        replica.move(new, now=5.0)
        assert replica.state is new
    else:
        with pytest.raises(IllegalMove, match=f"{old} → {new}"):
            replica.move(new, now=5.0)
        assert (replica.state, replica.since) == (old, 0.0)


def test_starting_and_loading_share_one_clock() -> None:
    replica = Replica("r", since=0.0)
    replica.move(ST, 10.0)
    replica.move(LO, 20.0)
    assert replica.since == 10.0
    replica.move(RE, 30.0)
    assert replica.since == 30.0


def test_every_state_has_a_row_and_ended_replicas_go_nowhere() -> None:
    assert set(TRANSITIONS) == set(ReplicaState)
    assert not TRANSITIONS[SP]
    assert not TRANSITIONS[FA]


def test_a_draining_replica_holds_memory_but_does_not_count() -> None:
    assert set(ReplicaState) - LIVE == {DR, SP, FA}
    assert set(ReplicaState) - HOLDS_MEMORY == {Q, SP, FA}


@pytest.mark.parametrize(
    ("replicas", "wanted", "word"),
    [
        ([], 0, Word.STOPPED),
        ([DR], 0, Word.STOPPING),
        ([RE], 0, Word.STOPPING),
        ([RE, DR], 0, Word.STOPPING),
        ([], 1, Word.QUEUED),
        ([Q], 1, Word.QUEUED),
        ([Q, DR], 1, Word.QUEUED),
        ([ST], 1, Word.BOOTING),
        ([Q, ST], 2, Word.BOOTING),
        ([LO], 1, Word.LOADING),
        ([ST, LO], 2, Word.LOADING),
        ([RE], 1, Word.RUNNING),
        ([RE, RE], 2, Word.RUNNING),
        ([RE], 2, Word.SCALING),
        ([RE, Q], 2, Word.SCALING),
        ([RE, LO], 2, Word.SCALING),
        ([RE, RE], 1, Word.SCALING),
        ([RE, DR], 1, Word.SCALING),
    ],
)
def test_a_cluster_is_called_by_what_its_replicas_do(replicas: list[ReplicaState], wanted: int, word: Word) -> None:
    assert cluster_status(replicas, wanted) is word


def test_a_cluster_that_waits_for_files_is_downloading() -> None:
    assert cluster_status([Q], 1, downloading=True) is Word.DOWNLOADING
    assert cluster_status([ST], 1, downloading=True) is Word.BOOTING
    assert cluster_status([RE], 1, downloading=True) is Word.RUNNING


@pytest.mark.parametrize("replicas", [[], [DR], [RE]])
def test_a_cluster_that_was_given_up_has_failed(replicas: list[ReplicaState]) -> None:
    assert cluster_status(replicas, 0, failed=True) is Word.FAILED


def test_the_words_are_those_of_the_wire_contract() -> None:
    words = "queued, downloading, booting instance, loading, running, scaling, stopping, stopped, failed"
    assert [str(word) for word in Word] == words.split(", ")
