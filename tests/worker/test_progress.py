"""How far a call has got, as the worker's log says it."""

from __future__ import annotations

import pytest

from modelyard.worker.progress import LOG_EVERY_S, StepLog


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(": ")[2] for record in caplog.records]


def test_first_and_last_step_are_said_and_others_at_a_sane_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    now = 0.0
    progress = StepLog("text-to-image", 7, clock=lambda: now)
    for step in range(1, 21):
        progress(step, 20)
        now += LOG_EVERY_S / 4
    assert said(caplog) == [f"step {step}/20" for step in (1, 5, 9, 13, 17, 20)]
    assert caplog.records[0].getMessage() == "text-to-image (request 7): step 1/20"


def test_slow_steps_are_all_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    now = 0.0
    progress = StepLog("text-to-video", clock=lambda: now)
    for step in range(1, 4):
        progress(step, 3)
        now += LOG_EVERY_S
    assert said(caplog) == ["step 1/3", "step 2/3", "step 3/3"]
