"""A real Ray cluster on this machine, in a process of its own, with ports and folders of its own.

    async with open_cluster("head", "other") as cluster:
        finder = RayFinder(cluster.address, cluster.environ)
        await cluster.do("kill", "other")       # kill -9 of all that Ray runs on a node
        await cluster.do("freeze", "other")     # SIGSTOP of all of them, as when its machine is cut off
        await cluster.do("thaw", "other")
        await cluster.do("add", "another")

Its agents' workers echo.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from modelyard.engine.ray.messages import AGENT_VARIABLE
from tests.engine.agents import PROGRAM
from tests.engine.echo import ECHO
from tests.engine.workers import ROOT

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
"""As docs/howto/ray.md says."""
ATTEMPTS = 5
"""Ray gives a node half a minute to start, which on a busy machine is too little."""
STORE_BYTES = 80 * 1024**2
"""The least that Ray takes."""


def main() -> None:
    """Entry: the names of nodes. Takes lines such as `add NAME`, see above, answers each; ends with its standard
    input."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    os.environ["RAY_TMPDIR"] = folder  # where Ray notes the cluster that was started last, in a folder it expects there
    (Path(folder) / "ray").mkdir()
    import ray
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    common = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "min_worker_port": 0, "max_worker_port": 0}
    head, *others = sys.argv[1:]
    arguments = {**common, "node_name": head, "include_dashboard": False, "temp_dir": folder}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    nodes = {name: cluster.add_node(node_name=name, wait=False, **common) for name in others}
    cluster.wait_for_nodes()
    print(cluster.address, file=answers, flush=True)
    for line in sys.stdin:
        word, name = line.split()
        if word == "kill":
            cluster.remove_node(nodes.pop(name), allow_graceful=False)
        elif word in SIGNALS:
            signal_all([each.process.pid for some in nodes[name].all_processes.values() for each in some], word)
        else:
            nodes[name] = cluster.add_node(node_name=name, **common)
        print("done", file=answers, flush=True)
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


SIGNALS = {"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}


def signal_all(pids: Iterable[int], word: str) -> None:
    """Signals processes and all that descend from them."""
    for pid in pids:
        for each in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(SIGNALS[word])


class RayCluster:
    """One that runs."""

    def __init__(self, process: Process, address: str, environ: Mapping[str, str]) -> None:
        self._process = process
        self.pid = process.pid
        self.address = address
        self.environ = environ

    async def do(self, word: str, name: str) -> None:
        """See `main`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word} {name}\n".encode())
        assert await self._process.stdout.readline() == b"done\n"


@asynccontextmanager
async def open_cluster(
    folder: Path, *names: str, unled_s: float = 3600, echoes: bool = True
) -> AsyncIterator[RayCluster]:
    """Starts one with nodes of these names, the first the head. `folder`: for logs of replicas. `echoes`: workers do,
    else they load models."""
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    command = "\n".join((sys.executable, "-c", PROGRAM, str(folder), str(unled_s), str(ECHO.max_batch)))
    environ = {**os.environ, **SETTINGS, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", AGENT_VARIABLE: command}
    if not echoes:
        del environ[AGENT_VARIABLE]
    code = "from tests.engine.ray.cluster import main; main()"
    for attempt in range(ATTEMPTS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *names, stdin=PIPE, stdout=PIPE, env=environ, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = (await process.stdout.readline()).decode().strip()
            if address:
                yield RayCluster(process, address, environ)
                return
            assert attempt < ATTEMPTS - 1, "Ray has not started"
        finally:
            process.stdin.close()
            await process.wait()
            end_session(process.pid)


def end_session(session: int) -> None:
    """Ends what a start that failed has left."""
    for each in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(each.pid) == session:
                each.kill()
