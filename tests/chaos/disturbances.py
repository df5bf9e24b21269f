"""What disturbs a server, one function a kind, in one table. Each does its harm and undoes it, and
returns whether there was anything to harm."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.chaos.databases import Database, freeze
from tests.chaos.lives import moment
from tests.chaos.load import EXPORTED, STREAMED
from tests.chaos.server import HOST
from tests.media.hosts import Host
from tests.serving import KEY, Server, is_fork, program_of, wait_until

PICTURES = "tiny/pictures"
STEPS_S = (-86_400.0, -3.0, 0.0, 3.0, 86_400.0)
CONNECTIONS = 50


@dataclass
class Scene:
    """What disturbances act on. `clock`: the file with the error of the server's clock; `redirecting`, `secret`: hosts
    that the server may reach, and that it must not; `hold_s`: for how long something is held or frozen."""

    server: Server
    database: Database
    draw: random.Random
    clock: Path
    redirecting: Host
    secret: Host
    hold_s: float
    gone_at: float = 0.0
    """When the process of a server that was ended was gone, in seconds since boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """`work`: see the module; the flags say what may come of it, see `Spell`. `only`: the kind of database
    it is for."""

    work: Callable[[Scene], bool]
    refuses: bool = False
    breaks_streams: bool = False
    ends_server: bool = False
    fails_closed: bool = False
    freezes_parent: bool = False
    """Of workers, which tells of their ends."""
    only: str | None = None


def end(processes: list[psutil.Process], draw: random.Random) -> bool:
    """Kills one of them, if there is one."""
    if processes:
        with suppress(psutil.NoSuchProcess):
            draw.choice(sorted(processes, key=lambda each: each.pid)).kill()
    return bool(processes)


def workers(scene: Scene) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return scene.server.workers()
    return []


def programs(scene: Scene, module: str) -> list[psutil.Process]:
    """The server's processes that run a module of its own."""
    with suppress(psutil.NoSuchProcess):
        return [each for each in scene.server.descendants() if module in program_of(each)]
    return []


def kill_replica(scene: Scene) -> bool:
    return end(workers(scene), scene.draw)


def annexes(scene: Scene) -> list[psutil.Process]:
    """The nurseries' children that are programs of their own: nurseries for models that need no torch."""
    with suppress(psutil.NoSuchProcess):
        return [child for each in scene.server.nurseries() for child in each.children() if not is_fork(child)]
    return []


def freeze_for_a_while(processes: list[psutil.Process], scene: Scene) -> bool:
    """Freezes one of them, if there is one."""
    chosen = [scene.draw.choice(sorted(processes, key=lambda each: each.pid))] if processes else []
    with freeze(chosen) as found:
        if found:
            time.sleep(scene.hold_s)
    return found


def freeze_replica(scene: Scene) -> bool:
    return freeze_for_a_while(workers(scene), scene)


def kill_nursery(scene: Scene) -> bool:
    return end(scene.server.nurseries(), scene.draw)


def kill_standby(scene: Scene) -> bool:
    return end(programs(scene, "modelyard.worker.standby"), scene.draw)


def ensure_annex(scene: Scene) -> list[psutil.Process]:
    """The annexes once a model that needs one is asked for. With an operator's cluster, which may be refused."""
    with suppress(httpx.HTTPError):
        scene.server.post(EXPORTED, prompt="the cat")
    return annexes(scene)


def kill_annex(scene: Scene) -> bool:
    return end(ensure_annex(scene), scene.draw)


def freeze_annex(scene: Scene) -> bool:
    return freeze_for_a_while(ensure_annex(scene), scene)


def kill_provider_process(scene: Scene) -> bool:
    return end(programs(scene, "modelyard.providers.server"), scene.draw)


def kill_server(scene: Scene) -> bool:
    scene.server.kill()
    scene.gone_at = moment()
    scene.server.start(warm=False)
    return True


def terminate_twice(scene: Scene) -> bool:
    process = scene.server.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    scene.gone_at = moment()
    scene.server.start(warm=False)
    return True


def lock_database(scene: Scene) -> bool:
    with scene.database.locked():
        time.sleep(scene.hold_s)
    return True


def freeze_database(scene: Scene) -> bool:
    with scene.database.frozen() as found:
        time.sleep(scene.hold_s)
    return found


def restart_database(scene: Scene) -> bool:
    return scene.database.restart()


def fill_disk(scene: Scene) -> bool:
    """As the kernel sees it: none of the server's files may grow, nor those of what it starts meanwhile."""
    assert scene.server.process is not None
    pid = scene.server.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    time.sleep(scene.hold_s)
    for each in (pid, *(child.pid for child in scene.server.descendants())):
        with suppress(ProcessLookupError, PermissionError):  # workers, which have limits of their own
            limit, hard = resource.prlimit(each, resource.RLIMIT_FSIZE)
            if limit == 1:
                resource.prlimit(each, resource.RLIMIT_FSIZE, (hard, hard))
    return True


def make_files_read_only(scene: Scene) -> bool:
    """By the attribute that binds root too; where there is no such thing, by their mode, which binds others only."""
    with read_only(scene.database.files()):
        time.sleep(scene.hold_s)
    return True


@contextmanager
def read_only(files: list[str]) -> Iterator[None]:
    bound = subprocess.run(["chattr", "+i", *files], capture_output=True, check=False).returncode == 0
    for path in [] if bound else files:
        os.chmod(path, 0o400)
    try:
        yield
    finally:
        if bound:
            subprocess.run(["chattr", "-i", *files], check=True)
        for path in [] if bound else files:
            os.chmod(path, 0o600)


def step_clock(scene: Scene) -> bool:
    written = scene.clock.with_suffix(".new")
    written.write_text(str(scene.draw.choice(STEPS_S)))
    written.replace(scene.clock)
    return True


def stall_while_reading(scene: Scene) -> bool:
    """Asks for a long stream and reads none of it."""
    body = b'{"text": "the cat", "stream": true, "params": {"max_new_tokens": 200}}'
    with ask(scene.server, f"/models/v2/{STREAMED}", body, len(body)):
        time.sleep(scene.hold_s)
    return True


def leave_while_waiting(scene: Scene) -> bool:
    """Asks, and is gone before the answer."""
    body = b'{"text": "the cat", "params": {"max_new_tokens": 200}}'
    for _ in range(5):
        with ask(scene.server, f"/models/v2/{STREAMED}", body, len(body)):
            pass
    return True


def send_slowly(scene: Scene) -> bool:
    """Many clients who begin a request and do not end it."""
    connections = [socket.create_connection(("127.0.0.1", scene.server.port)) for _ in range(CONNECTIONS)]
    for each in connections:
        with suppress(OSError):
            each.sendall(b"POST /models/v2/tiny/classifier HTTP/1.1\r\nhost: a\r\nx")
    time.sleep(scene.hold_s)
    for each in connections:
        each.close()
    return True


def rebind_names(scene: Scene) -> bool:
    """Names a picture that leads to this machine: by redirect, or by a name whose address changes."""
    for port in (scene.redirecting.port, scene.secret.port):
        for _ in range(2):
            with suppress(httpx.HTTPError):
                scene.server.client.post(f"/models/v2/{PICTURES}", json={"url": f"http://{HOST}:{port}/a.png"})
    return True


@contextmanager
def ask(server: Server, path: str, body: bytes, length: int) -> Iterator[socket.socket]:
    """A request whose answer is not read."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Key {KEY}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {length}\r\n\r\n".encode() + body)
        yield connection


DISTURBANCES: dict[str, Disturbance] = {
    "replica killed": Disturbance(work=kill_replica, breaks_streams=True),
    "replica frozen": Disturbance(work=freeze_replica, breaks_streams=True),
    "nursery killed": Disturbance(work=kill_nursery, breaks_streams=True),
    "standby killed": Disturbance(work=kill_standby, breaks_streams=True),
    "annex killed": Disturbance(work=kill_annex, breaks_streams=True),
    "annex frozen": Disturbance(work=freeze_annex, breaks_streams=True, freezes_parent=True),
    "what asks providers killed": Disturbance(work=kill_provider_process, breaks_streams=True, fails_closed=True),
    "server killed": Disturbance(work=kill_server, ends_server=True),
    "terminated twice": Disturbance(work=terminate_twice, ends_server=True),
    "database locked": Disturbance(work=lock_database, refuses=True),
    "database frozen": Disturbance(work=freeze_database, refuses=True, only="postgresql"),
    "database restarted": Disturbance(work=restart_database, refuses=True, only="postgresql"),
    "disk full": Disturbance(work=fill_disk, refuses=True),
    "files read-only": Disturbance(work=make_files_read_only, refuses=True, only="sqlite"),
    "clock stepped": Disturbance(work=step_clock),
    "reader stalls": Disturbance(work=stall_while_reading),
    "clients vanish": Disturbance(work=leave_while_waiting),
    "slow clients": Disturbance(work=send_slowly),
    "names rebound": Disturbance(work=rebind_names),
}


def kinds_for(database: str) -> list[str]:
    """What may be done to a server with such a database."""
    return sorted(name for name, each in DISTURBANCES.items() if each.only in {None, database})


def plan(draw: random.Random, kinds: Sequence[str]) -> Iterator[str]:
    """Disturbances without end: each kind once in every round, in an order of its own."""
    while True:
        yield from draw.sample(kinds, len(kinds))


def wait_until_answered(server: Server) -> None:
    """Until the server answers an inference again."""
    wait_until(lambda: server.post(STREAMED, text="a", params={"max_new_tokens": 1}).status_code == 200, 120.0)
