"""Which nodes of a Ray cluster are used, and what is told of the others, by an actor that says what it is told to."""

from __future__ import annotations

from itertools import pairwise

import pytest

from modelyard import __version__
from modelyard.engine.ray.watched import AGAIN_AFTER_S, ASK_EVERY_S, SILENT_S, Actor, ActorFailed, Watched
from modelyard.engine.remote.finder import AgentAddress

AGENT = AgentAddress("far", "10.0.0.7", 4711, "secret")


class ScriptedActor(Actor):
    """Answers, or fails, with what it is told to next; None: not yet."""

    def __init__(self) -> None:
        self.says: tuple[str, AgentAddress] | ActorFailed | None = None
        self.made = 0
        self._there = False

    def ask(self) -> None:
        self.made += not self._there
        self._there = True

    def answer(self) -> tuple[str, AgentAddress] | None:
        if isinstance(self.says, ActorFailed):
            raise self.says
        return self.says

    def forget(self) -> None:
        self._there = False


@pytest.fixture
def actor() -> ScriptedActor:
    return ScriptedActor()


@pytest.fixture
def node(actor: ScriptedActor) -> Watched:
    """One that has been asked at 0 s."""
    node = Watched("far", actor)
    node.look(0.0)
    return node


def test_an_agent_is_used_once_its_actor_has_answered(
    actor: ScriptedActor, node: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    node.look(1.0)
    assert not node.is_settled

    actor.says = __version__, AGENT
    for now in range(2, 9):
        node.look(float(now))

    assert node.is_settled
    assert node.agent == AGENT
    assert caplog.messages == ["node far of the Ray cluster: its agent is there"], "told once"


def test_a_node_with_another_version_is_not_waited_for_and_told_once(
    actor: ScriptedActor, node: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    actor.says = "0.0.7", AGENT
    for number in range(1, 6):
        node.look(number * ASK_EVERY_S)

    assert node.is_settled
    assert node.agent is None
    (line,) = caplog.messages
    assert (
        f"node far of the Ray cluster is not used: it has version 0.0.7 of Modelyard, this server has {__version__}"
        in line
    )


def test_a_node_that_says_nothing_is_not_waited_for_and_asked_again(
    actor: ScriptedActor, node: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    node.look(SILENT_S - 0.1)
    assert not node.is_settled
    node.look(SILENT_S)
    assert node.is_settled
    assert "node far of the Ray cluster is not used: nothing has come for 60 s" in caplog.text

    node.look(SILENT_S + AGAIN_AFTER_S)
    actor.says = __version__, AGENT
    node.look(SILENT_S + AGAIN_AFTER_S + 1)

    assert node.agent == AGENT
    assert actor.made == 2


def test_an_actor_that_dies_is_made_anew_less_and_less_often(actor: ScriptedActor, node: Watched) -> None:
    actor.says = ActorFailed("the actor died")
    asked = []
    for tenth in range(1, 400):
        made = actor.made
        node.look(tenth / 10)
        if actor.made > made:
            asked.append(tenth / 10)

    assert node.problem == "the actor died"
    waits = [later - sooner for sooner, later in pairwise(asked)]
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
