"""What is made of what a lone model's process reports."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from modelyard.engine.replica_log import MOST_LINES
from modelyard.engine.solo_process import MOST_REPORTS, follow
from modelyard.errors import BootFailed
from modelyard.protocol import Logged
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.solo import SoloReport
from tests.engine.harness import echo_spec
from tests.telemetry.heard import hearing


async def reporting(folder: Path, reports: Sequence[SoloReport]) -> Process:
    """A process that writes these and ends."""
    file = folder / "reports"
    file.write_bytes(b"".join(msgspec.json.encode(report) + b"\n" for report in reports))
    return await asyncio.create_subprocess_exec("cat", file, stdout=PIPE)


def line(number: int) -> SoloReport:
    return SoloReport(logged=Logged(0, number, logging.WARNING, "some", f"line {number}"))


async def test_lines_of_its_log_are_passed_on_beside_what_it_reports(tmp_path: Path) -> None:
    spec, ready = echo_spec(), list[ReplicaSpec]()
    lines = [line(number) for number in range(2 * MOST_REPORTS)]
    process = await reporting(tmp_path, [*lines, SoloReport(ready=True), line(9)])
    with hearing() as heard:
        await follow(process, spec, tmp_path, ready.append)
    assert ready == [spec]
    assert [each.message for each in heard] == [f"line {number}" for number in (*range(2 * MOST_REPORTS), 9)]
    assert {each.fields["replica_id"] for each in heard} == {spec.replica_id}


async def test_a_process_that_writes_more_lines_than_a_worker_sends_is_given_up(tmp_path: Path) -> None:
    process = await reporting(tmp_path, [line(number) for number in range(2 * MOST_LINES)])
    with pytest.raises(BootFailed, match="lines of its log in a second"):
        await follow(process, echo_spec(), tmp_path, lambda _: None)
    await process.communicate()
