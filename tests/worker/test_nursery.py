"""The nursery as a program: what it answers to which line, and what becomes of its children."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from modelyard.engine.link import Link
from modelyard.protocol import Failed, Status
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.nursery_messages import (
    Exited,
    NurseryReady,
    Refused,
    Report,
    Spawn,
    Started,
    read_report,
    to_line,
)
from tests.engine.harness import ask, echo_spec, eventually, is_alive
from tests.engine.workers import ECHO_NURSERY, ROOT

DEADLINE_S = 200.0
FRESH_NURSERY = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "import socket; from modelyard.worker.nursery import run_nursery\n"
    "run_nursery(socket.socket(fileno=int(sys.argv[1])), None)",
)
"""One that starts fresh processes, as where forking is unsafe."""


class Owner:
    """The other end of a nursery's socket."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self.process = process
        self._socket = ours
        self._buffer = b""

    async def report(self) -> Report:
        """The next line."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_S):
            while b"\n" not in self._buffer:
                data = await loop.sock_recv(self._socket, 65536)
                assert data, "the nursery has hung up"
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return read_report(line)

    async def started(self) -> Started:
        """The next line, which tells of a start."""
        report = await self.report()
        assert isinstance(report, Started), report
        return report

    def send(self, *messages: Spawn) -> None:
        """Sends lines, in one piece."""
        self._socket.send(b"".join(map(to_line, messages)))

    def hang_up(self) -> None:
        self._socket.close()


@asynccontextmanager
async def nursery(command: Sequence[str] = ECHO_NURSERY) -> AsyncIterator[Owner]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    process = await asyncio.create_subprocess_exec(*command, str(theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    owner = Owner(process, ours)
    try:
        assert isinstance(await owner.report(), NurseryReady)
        yield owner
    finally:
        owner.hang_up()
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0


def spawn(spec: ReplicaSpec, path: Path) -> Spawn:
    return Spawn(spec, str(path))


def parts_of(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")


async def test_a_child_starts_serves_and_is_reaped(tmp_path: Path) -> None:
    async with nursery() as owner:
        spec, path = echo_spec(), tmp_path / "a.sock"
        owner.send(spawn(spec, path))
        started = await owner.started()
        assert started == Started(spec.replica_id, started.pid, str(path), f"unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.getpgid(started.pid) == started.pid
        link = await Link.connect(f"unix:{path}", spec.secret, lambda status: None)
        assert len(parts_of(owner.process.pid)) == 1
        os.kill(started.pid, signal.SIGTERM)
        assert await owner.report() == Exited(started.pid, 0)
        assert not Path(f"/proc/{started.pid}").exists()
        await link.close()


async def test_statuses_are_told_as_wait_has_them(tmp_path: Path) -> None:
    async with nursery() as owner:
        owner.send(spawn(echo_spec("crash", log_path=str(tmp_path / "log")), tmp_path / "a.sock"))
        pid = (await owner.started()).pid
        assert await owner.report() == Exited(pid, 7 << 8)
        assert (tmp_path / "log").read_text() == "something went very wrong\n"
        owner.send(spawn(echo_spec(log_path=str(tmp_path / "log")), tmp_path / "b.sock"))
        pid = (await owner.started()).pid
        os.kill(pid, signal.SIGKILL)
        assert await owner.report() == Exited(pid, int(signal.SIGKILL))


async def test_a_child_that_cannot_be_started_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with nursery() as owner:
        taken = tmp_path / "taken"
        taken.write_text("")
        before = len(os.listdir(f"/proc/{owner.process.pid}/fd"))
        long = tmp_path / ("x" * 200)
        for path in (taken, long, tmp_path / "no" / "folder"):
            spec = echo_spec()
            owner.send(spawn(spec, path))
            refused = await owner.report()
            assert isinstance(refused, Refused)
            assert refused.replica_id == spec.replica_id
            assert refused.reason.startswith("cannot start a process: ")
        await eventually(lambda: len(os.listdir(f"/proc/{owner.process.pid}/fd")) == before)


async def test_a_worker_that_fails_waits_for_someone_to_tell(tmp_path: Path) -> None:
    async with nursery() as owner:
        log = tmp_path / "log"
        spec = echo_spec("refuse", log_path=str(log))
        owner.send(spawn(spec, tmp_path / "a.sock"))
        pid = (await owner.started()).pid
        await eventually(lambda: "ModelRefused: there are no weights in it" in log.read_text())
        told: list[Status] = []
        link = await Link.connect(f"unix:{tmp_path / 'a.sock'}", spec.secret, told.append)
        assert await owner.report() == Exited(pid, 1 << 8)
        await link.wait_closed(DEADLINE_S)
        assert told[-1] == Failed("there are no weights in it", permanent=True)
        await link.close()


async def test_many_children_die_at_once(tmp_path: Path) -> None:
    """One SIGCHLD may stand for many deaths."""
    async with nursery() as owner:
        specs = [echo_spec(log_path=str(tmp_path / "log")) for _ in range(20)]
        owner.send(*(spawn(spec, tmp_path / f"{number}.sock") for number, spec in enumerate(specs)))
        pids = {(await owner.started()).pid for _ in specs}
        os.kill(owner.process.pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        os.kill(owner.process.pid, signal.SIGCONT)
        assert {await owner.report() for _ in specs} == {Exited(pid, int(signal.SIGKILL)) for pid in pids}
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_lines_may_arrive_in_pieces(tmp_path: Path) -> None:
    async with nursery() as owner:
        spec = echo_spec(log_path=str(tmp_path / "log"))
        line = to_line(spawn(spec, tmp_path / "a.sock"))
        for start in range(0, len(line), 50):
            owner._socket.send(line[start : start + 50])
            await asyncio.sleep(0)
        assert (await owner.started()).replica_id == spec.replica_id


async def test_hanging_up_kills_every_child(tmp_path: Path) -> None:
    async with nursery() as owner:
        owner.send(*(spawn(echo_spec("deaf parent"), tmp_path / f"{number}.sock") for number in range(3)))
        pids = [(await owner.started()).pid for _ in range(3)]
        links = [await Link.connect(f"unix:{tmp_path}/{n}.sock", "open sesame", lambda status: None) for n in range(3)]
        for link in links:
            await eventually_ready(link)
        children = [int(msgspec.json.decode(await ask(link, "facts"))["child"]) for link in links]
        owner.hang_up()
        await eventually(lambda: not any(map(is_alive, pids + children)))
        for link in links:
            await link.close()


async def eventually_ready(link: Link) -> None:
    """Returns when the worker takes requests; it says so itself, but this test looks at other things."""
    from modelyard.errors import ReplicaLost

    async def answers() -> bool:
        try:
            return bool(await ask(link, "hello"))
        except ReplicaLost:
            return False

    async with asyncio.timeout(DEADLINE_S):
        while not await answers():
            await asyncio.sleep(0.005)


async def test_the_death_of_the_nursery_kills_its_children(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(*ECHO_NURSERY, str(theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    ours.setblocking(False)
    owner = Owner(process, ours)
    assert isinstance(await owner.report(), NurseryReady)
    owner.send(spawn(echo_spec("deaf"), tmp_path / "a.sock"))
    pid = (await owner.started()).pid
    process.kill()
    await process.wait()
    await eventually(lambda: not is_alive(pid))
    owner.hang_up()


async def test_fresh_processes_do_as_forks_do(tmp_path: Path) -> None:
    async with nursery(FRESH_NURSERY) as owner:
        spec = replace(echo_spec(), task="no-such-task", log_path=str(tmp_path / "log"))
        owner.send(spawn(spec, tmp_path / "a.sock"))
        started = await owner.started()
        assert os.getpgid(started.pid) == started.pid
        told: list[Status] = []
        link = await Link.connect(f"unix:{tmp_path / 'a.sock'}", spec.secret, told.append)
        assert await owner.report() == Exited(started.pid, 1 << 8)
        await link.wait_closed(DEADLINE_S)
        assert isinstance(told[-1], Failed)
        assert told[-1].permanent
        assert "no-such-task" in told[-1].reason
        assert "no-such-task" in (tmp_path / "log").read_text()
        await link.close()
