"""The actor on each Ray node: keeps the node's agent as a child, and says where that takes connections.

The agent is a process of its own, since what forks must not have threads, and Ray's have many. It dies with the actor,
and the actor with it.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading

from modelyard import __version__
from modelyard.engine.remote.finder import AgentAddress

PROGRAM = (sys.executable, "-P", "-m", "modelyard.serving.node")
"""The agent; it gets the node's name and address as arguments."""


class NodeActor:
    """One for each node and all servers. `modelyard.engine.ray.program` makes an actor of it."""

    def __init__(self, node: str, host: str, program: tuple[str, ...] = PROGRAM) -> None:
        """`host`: the node's address, as other nodes reach it. Called by Ray on the process's main thread, with which a
        child's parent-death signal goes."""
        self._secret = secrets.token_hex(16)
        self._process = subprocess.Popen(
            [*program, node, host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=agent_environment(),
            start_new_session=True,  # it ends its own groups first, should Ray end this one's
        )
        assert self._process.stdin is not None  # noqa: S101 - both were asked for
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{self._secret}\n".encode())
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {}
        if "port" not in told:
            with self._process:  # closes its pipes
                why = told.get("failed") or f"it ended as it began, with code {self._process.wait()}"
            raise RuntimeError(f"the agent of node {node} cannot run: {why}")
        self._agent = AgentAddress(node, host, told["port"], self._secret)
        threading.Thread(target=self._end_with_agent, daemon=True, name="end of the agent").start()

    def describe(self) -> tuple[str, AgentAddress]:
        """The version of this package that runs here, and where the agent takes connections."""
        return __version__, self._agent

    def _end_with_agent(self) -> None:
        self._process.wait()
        os._exit(0)


def agent_environment() -> dict[str, str]:
    """This process's, without what Ray has put there: no accelerator is reserved for the actor, which is to see all."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and not (name.endswith("_VISIBLE_DEVICES") and not value)
    }
