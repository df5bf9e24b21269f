"""Exports: a variant is made by a program of its own, `modelyard.worker.variants`; this is the side that asks it to.

Owns the process from its start to its end, and the folder that it makes the variant in: what comes of it is put where
it belongs only once the program has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from modelyard.engine.base import OnStep
from modelyard.engine.rundir import remove_tree
from modelyard.errors import ModelRefused
from modelyard.private_files import FILE_MODE, FOLDER_MODE
from modelyard.records.conversions import ConversionOrder
from modelyard.records.variants import ExportOrder, ExportReport
from modelyard.worker.environment import worker_environment
from modelyard.worker.processes import kill_group

PROGRAM = (sys.executable, "-P", "-m", "modelyard.worker.variants")
LINE_BYTES = 1024 * 1024
Order = ExportOrder | ConversionOrder
MOST_REPORTS = 100
"""There are four kinds of steps, two of which come twice."""


async def make_variant(order: ExportOrder, on_step: OnStep, program: Sequence[str] = PROGRAM) -> dict[str, Any]:
    """Makes the variant; the facts the program found out. `on_step` gets a sentence for each step.

    Cancelling ends the program; it leaves no half variant. Raises ModelRefused with the program's own words.
    """
    return await make_folder(order, on_step, program, f"cannot be made into {order.kind}")


async def make_folder(order: Order, on_step: OnStep, program: Sequence[str], failure: str) -> dict[str, Any]:
    """The same for any program that makes a folder of a model. `failure`: what to say before its own words."""
    target = Path(order.target)
    scratch = target.with_name(f".{target.name}.scratch")
    made = scratch / target.name
    await asyncio.to_thread(remove_tree, scratch)  # of one that was killed
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        order = msgspec.structs.replace(order, target=str(made), scratch=str(scratch))
        facts = await run_program(order, on_step, program, failure)
        await asyncio.to_thread(take_over, made, target)
    except OSError as error:
        raise ModelRefused(f"{order.model_id} {failure}: it cannot be written: {error.strerror}.") from error
    finally:
        await asyncio.to_thread(remove_tree, scratch)
    return facts


async def run_program(order: Order, on_step: OnStep, program: Sequence[str], failure: str) -> dict[str, Any]:
    """Runs the program to its end; see `make_folder`."""
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
    last = ExportReport()
    try:
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
        async for last in read_reports(process.stdout):
            if last.step is not None:
                on_step(last.message or last.step)
        status = await process.wait()
    except (ValueError, msgspec.MsgspecError) as error:  # too long a line, or none of these
        last = ExportReport(failed=f"the program that does it wrote what makes no sense: {error}")
    finally:
        if process.returncode is None:
            kill_group(process.pid, signal.SIGKILL)
            status = await process.wait()
    if last.done is not None:
        return last.done
    why = last.failed or f"the program that does it ended with status {status} (the machine may have run out of memory)"
    raise ModelRefused(f"{order.model_id} {failure}: {why}", model=order.model_id)


async def read_reports(stdout: asyncio.StreamReader) -> AsyncIterator[ExportReport]:
    """What the program says, as it says it. Raises ValueError, MsgspecError for what it never says."""
    reports = 0
    async for line in stdout:
        reports += 1
        if reports > MOST_REPORTS:
            raise ValueError(f"more than {MOST_REPORTS} lines")
        yield msgspec.json.decode(line, type=ExportReport)


def take_over(made: Path, target: Path) -> None:
    """Puts a folder that a program has made where it belongs, instead of what is there, as this user's alone.

    Nobody may be at work in it any more. Raises OSError, ModelRefused when it holds anything but files and folders.
    """
    own(made, FOLDER_MODE)
    for folder, folders, files in os.walk(made):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise ModelRefused(f"The program that makes models left something that is no file: {name}.")
            own(path, FOLDER_MODE if stat.S_ISDIR(mode) else FILE_MODE)
    if target.exists():
        made.rename(new := made.with_name(f"{made.name}.new"))
        target.rename(made)  # goes with what else is left there
        new.rename(target)
    else:
        made.rename(target)


def own(path: Path, mode: int) -> None:
    """Makes a file or folder this user's, which it is already where programs run as the same one."""
    if os.geteuid() == 0:
        os.chown(path, 0, os.getegid(), follow_symlinks=False)
    path.chmod(mode)
