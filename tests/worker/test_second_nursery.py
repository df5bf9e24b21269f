"""A nursery's child that is a nursery too: what its owner hears when it dies."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import psutil

from modelyard.worker.nursery_messages import Exited, Refused, Report, Spawn, Started
from modelyard.worker.second_nursery import ENDED, SecondNursery
from tests.engine.harness import echo_spec
from tests.engine.workers import ECHO_NURSERY

DEADLINE_S = 200.0


def next_reports(second: SecondNursery) -> list[Report]:
    """The next that concern workers."""
    assert second.socket is not None
    second.socket.settimeout(DEADLINE_S)
    while not (reports := second.receive()):
        assert second.socket is not None
    return reports


def test_its_workers_end_with_it_and_are_told_to_have_died_of_that(tmp_path: Path) -> None:
    second, known, unknown = SecondNursery(ECHO_NURSERY), echo_spec(), echo_spec()
    with closing(second.open()):
        second.send(Spawn(known, str(tmp_path / "a.sock")))
        (started,) = next_reports(second)
        assert isinstance(started, Started)
        nursery = psutil.Process(started.pid).parent()
        assert nursery is not None
        nursery.suspend()
        second.send(Spawn(unknown, str(tmp_path / "b.sock")))
        nursery.kill()
        assert next_reports(second) == [Exited(started.pid, None), Refused(unknown.replica_id, ENDED)]
        assert second.socket is None
        _, status = os.waitpid(nursery.pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
