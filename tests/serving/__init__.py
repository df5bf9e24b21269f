"""Real servers for tests: `modelyard serve` in a process of its own, and the requests one makes to it.

MODELYARD_TEST_SOURCE (the src folder of another checkout) makes every server run that code: black-box tests then show
what another commit does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests import processes
from tests.command import run_command
from tests.described import documents
from tests.processes import Processes, living

KEY = "test-key"
START_DEADLINE_S = 300.0
REQUEST_S = 120.0
"""What a client waits for an answer: who waits so long on any machine waits for what does not come."""
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What clients of servers that speak plain HTTP verify by: nothing. By default each reads the machine's certificates,
which takes 20 ms of CPU time."""
STANDBY, NURSERY = "modelyard.worker.standby", "modelyard.worker.nursery"
"""The programs of processes that replicas are forked from."""
PORTS, PORT_SHARES = range(10_096, 32_000), 16
"""Sources: ip_local_port_range in ip(7), which begins at 32768; the bad ports of the Fetch standard, which browsers
refuse, and the last of which is 10080."""
SHARE_OF_WAIT, SELDOM_S = 1 / 30, 0.2
UP_EVERY_S, WARM_EVERY_S = 0.1, 0.4
"""Each question whether a server is up or warm takes 10 ms of CPU time, here and there. It is up after one second, warm
after some."""
SHORT_JOBS = {"MODELYARD_RUNTIME": "original", "MODELYARD_JOB_BENCHMARK_S": "0.3"}
"""Jobs of servers in tests measure models as they are, for a moment: to make another form of each takes ten seconds, to
measure one up to a minute of all cores."""
ENDLESS = ("tiny/t5", {"max_new_tokens": 20_000, "min_new_tokens": 20_000, "do_sample": False})
"""A model of the zoo that writes for as long as it is told to, and params that take it a minute: what a test ends in
the middle has not come to its end before, however long the test had to wait for its turn."""


def free_port() -> int:
    """A TCP port nobody listens on at this moment, and that nobody gets who takes whichever is free.

    Those are below the range that the kernel gives clients theirs from. Processes that share the tests each have some
    of them, and take them in turn.
    """
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def _own_ports() -> Iterator[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, last = PORTS.start // PORT_SHARES, PORTS.stop // PORT_SHARES
    begin = random.randrange(first, last)
    return (PORT_SHARES * place + number % PORT_SHARES for place in (*range(begin, last), *range(first, begin)))


_ports = _own_ports()


def wait_until(condition: Callable[[], Any], deadline_s: float = 120.0, every_s: float = 0.02) -> Any:
    """The first true value of `condition`, asked again and again; fails after `deadline_s`.

    Who waits for what is to come leaves the deadline as it is: it is there for what never comes. What takes long is
    asked less often, by a thirtieth of how long it has taken: asking takes time from what is waited for.
    """
    begun = now = time.monotonic()
    while now < begun + deadline_s:
        if value := condition():
            return value
        time.sleep(max(every_s, min(SHARE_OF_WAIT * (now - begun), SELDOM_S)))
        now = time.monotonic()
    raise AssertionError(f"still not true after {deadline_s} s: {condition}")


def program_of(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has ended."""
    return processes.program_of(process.pid)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """Every process it has started, directly or not; none of one that has ended."""
    return living(Processes().family(process.pid))


def resident_bytes(process: psutil.Process) -> int:
    """Its resident memory; none of one that has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def cpu_s(process: psutil.Process) -> float:
    """CPU time it has used so far, which its neighbours hardly change; none of one that has ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def is_fork(process: psutil.Process) -> bool:
    """Whether it is the same program as its parent."""
    try:
        parent = process.parent()
    except psutil.NoSuchProcess:
        return False
    return parent is not None and program_of(parent) == program_of(process)


def forks_of(process: psutil.Process) -> list[psutil.Process]:
    """Its children that are the same program."""
    return living(Processes().forks(process.pid))


class Server:
    """One `modelyard serve` process and a client with its key."""

    def __init__(
        self,
        folder: Path,
        models_dir: Path,
        *flags: str,
        hub: bool = False,
        warm: bool = True,
        boots: bool = True,
        program: Sequence[str] = (),
        **environ: str,
    ) -> None:
        """`environ` is added to the server's environment; `hub` lets it look where HF_ENDPOINT points; `warm`: whether
        who enters it waits until boots are quick, which takes seconds; `boots`: whether replicas are to boot; where
        not, what they would be forked from imports nothing; `program`: one that becomes the server."""
        self.data_dir = folder / "data"
        self.models_dir = models_dir
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._command = [
            *program, sys.executable, "-m", "modelyard", "serve", "--port", str(self.port),
            "--data-dir", str(self.data_dir), "--models-dir", str(models_dir),
            *([] if hub else ["--no-hub"]), *flags,
        ]  # fmt: skip
        self._environ = {**os.environ, "MODELYARD_ADMIN_KEY": KEY, **SHORT_JOBS, **environ}
        if source := os.environ.get("MODELYARD_TEST_SOURCE"):
            self._environ["PYTHONPATH"] = source
        self.client = self.client_of(KEY)
        self.process: subprocess.Popen[bytes] | None = None
        self._warm, self._boots = warm and boots, boots
        self._held: list[psutil.Process] = []

    def __enter__(self) -> Self:
        self.start(warm=self._warm)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stop()

    def start(self, *, warm: bool = True, boots: bool = True) -> None:
        """Starts the process and waits until it answers; `warm`: until boots are quick; `boots`: see above."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environ, stdout=log, stderr=log)
        try:
            wait_until(lambda: self.is_up(warm=False), START_DEADLINE_S, every_s=UP_EVERY_S)
            if warm:
                wait_until(lambda: self.is_up(warm=True), START_DEADLINE_S, every_s=WARM_EVERY_S)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}") from error
        if not (self._boots and boots):
            self._held = wait_until(self.standbys)
            for standby in self._held:
                standby.suspend()
        if "MODELYARD_TEST_SOURCE" not in os.environ:
            documents.add(self.port)

    def is_up(self, *, warm: bool) -> bool:
        """Whether it answers; fails when the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            health = self.health()
        except httpx.HTTPError:
            return False
        return bool(health["warm"] or not warm) and self.listens()

    def listens(self) -> bool:
        """Whether the port is this process's own: another server may answer on it, and this one be about to fail."""
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in self.sockets())

    def sockets(self) -> list[Any]:
        """Its TCP sockets. Only root may look into a server: for others, all that this machine has at its port."""
        assert self.process is not None
        try:
            return list(psutil.Process(self.process.pid).net_connections("tcp"))
        except psutil.AccessDenied:
            return [each for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == self.port]

    def stop(self) -> None:
        """Ends the process politely."""
        documents.remove(self.port)
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)
        self._end_held()

    def kill(self) -> None:
        """Ends the process with SIGKILL."""
        documents.remove(self.port)
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(120)
        self._end_held()

    def _end_held(self) -> None:
        """What is held does not see that its server has ended."""
        for standby in self._held:
            with suppress(psutil.NoSuchProcess):
                standby.kill()
        self._held = []

    @contextmanager
    def with_models(self, folder: Path) -> Iterator[Self]:
        """Serves a folder's models too, until the end of the block: by then none is loaded, none has a cluster. Of the
        organisations in the folder, which the server must not have yet, it serves models that come later as well."""
        places = [self.models_dir / organisation.name for organisation in folder.iterdir()]
        for place in places:
            place.symlink_to(folder / place.name)
        try:
            yield self
        finally:
            for cluster in self.clusters():
                self.delete(cluster["modelId"])
            wait_until(lambda: not self.workers())
            for place in places:
                place.unlink()

    def clusters(self) -> list[dict[str, Any]]:
        """The operator's clusters, as soon as they may be listed: who has read too much is told to come back."""
        path = "/models/v2/list/clusters"
        response = wait_until(lambda: answer if (answer := self.client.get(path)).status_code == 200 else None)
        return list(response.json()["output"])

    def descendants(self) -> list[psutil.Process]:
        """Every process the server has started, directly or not."""
        return living(Processes().family(self.pid))

    @property
    def pid(self) -> int:
        """The server's own process, which has been started."""
        assert self.process is not None
        return self.process.pid

    # --- requests ---

    def post(self, model_id: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """Runs a model."""
        return self.client.post(f"/models/v2/{model_id}", json=body, headers=headers)

    def run(self, model_id: str, **body: Any) -> Any:
        """Runs a model that must succeed; its output."""
        response = self.post(model_id, **body)
        assert response.status_code == 200, response.text
        assert response.json()["error"] is None
        return response.json()["output"]

    def put(self, model_id: str, **body: Any) -> httpx.Response:
        """Creates or updates a cluster."""
        return self.client.put(f"/models/v2/{model_id}", json=body)

    def cluster(self, model_id: str) -> dict[str, Any]:
        """A cluster that must be there."""
        response = self.client.get(f"/models/v2/{model_id}")
        assert response.status_code == 200, response.text
        return dict(response.json()["output"])

    def wait_for(self, model_id: str, deadline_s: float = 120.0, **expected: Any) -> dict[str, Any]:
        """The cluster once its fields are as `expected`."""
        seen: dict[str, Any] = {}

        def matches() -> bool:
            seen.update(self.cluster(model_id))
            return all(seen[name] == value for name, value in expected.items())

        try:
            wait_until(matches, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"wanted {expected}, last seen {json.dumps(seen)}") from error
        return seen

    def delete(self, model_id: str) -> httpx.Response:
        """Removes a cluster."""
        return self.client.delete(f"/models/v2/{model_id}")

    def events(self, model_id: str) -> list[str]:
        """The words of a cluster's log."""
        response = self.client.get(f"/models/v2/events/{model_id}", params={"limit": 1000})
        assert response.status_code == 200, response.text
        return [event["message"] for event in response.json()["output"]]

    def load(self) -> tuple[int, int]:
        """Requests in flight and queued, over all clusters."""
        health = self.health()
        return health["inFlight"], health["queued"]

    def health(self) -> dict[str, Any]:
        """How the server is, asked on a connection of its own."""
        with self.client_of(KEY) as client:
            return dict(client.get("/health").json())

    def command(self, *words: str) -> str:
        """Runs `modelyard ...` on its data folder, in this process; the output. Fails when the command does."""
        done = run_command([*words, "--data-dir", str(self.data_dir)])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client_of(self, key: str) -> httpx.Client:
        """A client with another key."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Key {key}"}, timeout=REQUEST_S, verify=PLAIN)

    def worker_pids(self) -> list[int]:
        """The processes that serve models: the forks of the nursery, and of the one without torch."""
        return [worker.pid for worker in self.workers()]

    def workers(self) -> list[psutil.Process]:
        """Those processes, which may end at any moment."""
        seen = Processes()
        return living(fork for nursery in self._nurseries(seen) for fork in seen.forks(nursery))

    def worker_pid(self) -> int:
        """The one process that serves a model, once those that were told to end have gone."""
        return self.worker().pid

    def worker(self) -> psutil.Process:
        """That process, which may end at any moment."""
        alone: list[psutil.Process] = []

        def is_alone() -> bool:
            alone[:] = self.workers()
            return len(alone) == 1

        wait_until(is_alone)
        return alone[0]

    def nurseries(self) -> list[psutil.Process]:
        """The processes whose forks serve models: themselves forks of the standby, or programs of their own."""
        return living(self._nurseries(Processes()))

    def _nurseries(self, seen: Processes) -> list[int]:
        programs = {each: processes.program_of(each) for each in seen.programs(self.pid)}
        standbys = [each for each, program in programs.items() if STANDBY in program]
        alone = [each for each, program in programs.items() if NURSERY in program]
        return [*(fork for each in standbys for fork in seen.forks(each)), *alone]

    def standbys(self) -> list[psutil.Process]:
        """The process that nurseries are forked from, once there is one."""
        return [each for each in self.descendants() if STANDBY in program_of(each)]

    @contextmanager
    def boots_held(self) -> Iterator[None]:
        """Nothing that the server has started does anything before the end of the block: no replica boots."""
        wait_until(self.standbys)
        held: list[psutil.Process] = []
        try:
            while fresh := [each for each in self.descendants() if each not in held]:
                held += fresh
                for process in fresh:
                    with suppress(psutil.NoSuchProcess):
                        process.suspend()
            yield
        finally:
            for process in held:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
