"""Finds the agents on a Ray cluster's nodes: keeps the program that speaks to Ray, and passes on what that tells.

Imports no Ray.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

from modelyard.engine.ray.messages import CannotConnect, Found, read_line
from modelyard.engine.remote.finder import Finder, OnAgents
from modelyard.engine.standby_process import BackOff
from modelyard.errors import Unavailable
from modelyard.worker.processes import describe_status, end_process

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "modelyard.engine.ray.program")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
FIRST_S = 120.0
"""How long it may take until every node there is has an agent: seconds, on machines that are busy more."""
END_S = 5.0
AGAIN_AFTER_S = 0.5
LINE_BYTES = 1024**2


class RayFinder(Finder):
    """One program at a time, another when it dies: the agents that were known stay so meanwhile."""

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ, program: Sequence[str] = PROGRAM) -> None:
        """`address`: the cluster's, host:port; auto: the one that runs on this machine, or RAY_ADDRESS."""
        self._address = address
        self._environ = {**environ, **QUIET}
        self._program = program
        self._back_off = BackOff(AGAIN_AFTER_S)
        self._on_agents: OnAgents = lambda agents: None
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, on_agents: OnAgents) -> None:
        """See Finder. Raises Unavailable when Ray is not installed, or there is no such cluster."""
        if importlib.util.find_spec("ray") is None:
            raise Unavailable("--engine ray needs Ray, which is not installed: pip install 'modelyard[ray]'")
        self._on_agents = on_agents
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run_forever(), name="Ray")
        try:
            async with asyncio.timeout(FIRST_S):
                await asyncio.shield(self._first)
        except TimeoutError:
            await self.close()
            words = f"The Ray cluster {self._address} has not answered within {FIRST_S:g} s."
            raise Unavailable(words, cause="ray") from None
        except Unavailable:
            await self.close()
            raise

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_forever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                end = await self._run_once()
            except Unavailable as error:
                if self._first is not None and not self._first.done():
                    self._first.set_exception(error)
                    return
                end = f"has given up: {error}"
            except (OSError, ValueError) as error:
                end = str(error)
            delay_s = self._back_off.next_s(time.monotonic() - began)
            log.error("the program that speaks to Ray %s; starting another in %.1f s", end, delay_s)
            await asyncio.sleep(delay_s)

    async def _run_once(self) -> str:
        """One program's life; how it ended. Raises Unavailable, OSError, ValueError."""
        process = await asyncio.create_subprocess_exec(
            *self._program,
            self._address,
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_BYTES,
            env=self._environ,
            start_new_session=True,  # a Ctrl-C in the terminal is for the server, which then ends it
        )
        try:
            await self._read(process)
            return describe_status(await process.wait())
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await end_process(process, END_S)

    async def _read(self, process: Process) -> None:
        """Passes on what it tells, until it ends. Raises Unavailable when it cannot reach the cluster."""
        assert process.stdout is not None  # noqa: S101 - asked for
        assert self._first is not None  # noqa: S101 - start() has made it
        async for line in process.stdout:
            match read_line(line):
                case Found(agents):
                    self._on_agents(agents)
                    if not self._first.done():
                        self._first.set_result(None)
                case CannotConnect(reason):
                    raise Unavailable(f"The Ray cluster {self._address} cannot be reached: {reason}", cause="ray")
