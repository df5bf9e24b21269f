"""What families that speak share: their steps are told and can be ended, and voices that are not there are named."""

from __future__ import annotations

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.worker.runtimes.making import Stopped
from modelyard.worker.runtimes.sound.base import MOST_TOLD, check_speaker, check_voice, count_passes


def test_passes_are_told_until_somebody_leaves_and_never_after() -> None:
    module, told = torch.nn.Identity(), list[tuple[int, int]]()

    def on_step(done: int, total: int) -> bool:
        told.append((done, total))
        return done == 3

    def run() -> None:
        with count_passes([module], on_step, 2):
            for _ in range(9):
                module(torch.zeros(1))

    with pytest.raises(Stopped):
        run()
    module(torch.zeros(1))
    assert told == [(1, 2), (2, 2), (3, 3)]


def test_a_voice_that_is_not_there_is_answered_by_as_many_as_can_be_read() -> None:
    voices = [f"v{number}" for number in range(MOST_TOLD + 2)]
    assert check_voice("v1", voices) == "v1"
    with pytest.raises(InvalidRequest, match=f"v0, v1, .*v{MOST_TOLD - 1} and 2 more"):
        check_voice("nobody", voices)
    with pytest.raises(InvalidRequest, match="not set: this model has no voices with names"):
        check_voice("nobody", [])


def test_a_speaker_that_is_not_there_is_named() -> None:
    assert check_speaker(1, 2) == 1
    with pytest.raises(InvalidRequest, match=r"params\.speaker_id: got 2; accepted: 0 to 1"):
        check_speaker(2, 2)
