"""Exports: a variant is made by a program of its own, `modelyard.worker.variants`; this is the side that asks it to.

Owns the process from its start to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from typing import Any

import msgspec

from modelyard.engine.base import OnStep
from modelyard.errors import ModelRefused
from modelyard.records.variants import ExportOrder, ExportReport
from modelyard.worker.environment import worker_environment
from modelyard.worker.processes import kill_group

PROGRAM = (sys.executable, "-m", "modelyard.worker.variants")
LINE_BYTES = 1024 * 1024


async def make_variant(order: ExportOrder, on_step: OnStep, program: Sequence[str] = PROGRAM) -> dict[str, Any]:
    """Makes the variant; the facts the program found out. `on_step` gets a sentence for each step.

    Cancelling ends the program; it leaves no half variant. Raises ModelRefused with the program's own words.
    """
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        limit=LINE_BYTES,
        env=worker_environment(os.environ),
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
        last = ExportReport()
        async for line in process.stdout:
            last = msgspec.json.decode(line, type=ExportReport)
            if last.step is not None:
                on_step(last.message or last.step)
        status = await process.wait()
    finally:
        if process.returncode is None:
            kill_group(process.pid, signal.SIGKILL)
            await process.wait()
    if last.done is not None:
        return last.done
    why = last.failed or f"the export ended with status {status} (the machine may have run out of memory)"
    raise ModelRefused(f"{order.model_id} cannot be made into {order.kind}: {why}", model=order.model_id)
