"""A disk that takes no more: new work is refused with the reason, no call waits for it, and what was accepted is kept.

The kernel refuses the server's writes: the size its files may have (RLIMIT_FSIZE) is set while it runs.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.attacks.registry import attack
from tests.serving import Server, wait_until

MODEL = "tiny/classifier"
NOTICED_S = 120.0
"""A heartbeat, at the latest, is a write that fails: ten seconds, and the time a busy machine takes."""
READ_S = 120.0
"""What a call that reads may take: it waits for five seconds at most, and then answers."""


@pytest.fixture(scope="module")
def started(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("full-disk"), zoo) as running:
        yield running


@pytest.fixture
def server(started: Server) -> Server:
    """A server with a replica that has answered."""
    started.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
    started.run(MODEL, text="hello")
    return started


@contextmanager
def no_writes(server: Server) -> Iterator[None]:
    """Within it no file of the server, but not of its workers, can be written to."""
    assert server.process is not None
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        if server.process.poll() is None:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))


def requests_billed(server: Server) -> int:
    answer = server.client.get("/models/v2/usage", timeout=READ_S)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["output"]["total"]["requests"])


def ask_until_refused(server: Server) -> tuple[int, httpx.Response]:
    """How many requests are answered before one is refused, one after the other; and the refusal."""
    answered = 0
    end = time.monotonic() + NOTICED_S
    while (answer := server.post(MODEL, text="hello")).status_code == 200:
        answered += 1
        assert time.monotonic() < end, f"{answered} requests were answered that nothing can be written of"
    return answered, answer


@attack
def fill_the_disk(server: Server) -> None:
    """Until that is known; then there is room again."""
    server.run(MODEL, text="hello")
    with no_writes(server):
        ask_until_refused(server)
    wait_until(lambda: server.post(MODEL, text="hello").status_code == 200)
    server.delete(MODEL)


def test_a_kill_while_the_disk_is_full_loses_only_what_was_accepted_before_that_was_seen(server: Server) -> None:
    """Requests that come once it is known are refused, not served for nobody's bill."""
    before = requests_billed(server)
    with no_writes(server):
        answered, _ = ask_until_refused(server)
        for _ in range(7):
            assert server.post(MODEL, text="hello").status_code == 503
        server.kill()
    server.start(warm=False)
    assert before <= requests_billed(server) <= before + answered
    server.run(MODEL, text="hello")


def test_new_work_is_refused_with_the_reason_and_goes_on_by_itself_when_there_is_room(server: Server) -> None:
    """The last of this server."""
    before = requests_billed(server)
    with no_writes(server):
        answered, refusal = ask_until_refused(server)
        assert refusal.status_code == 503
        assert "cannot write its records: its disk" in refusal.json()["error"]
        assert str(server.data_dir) not in refusal.text
        assert int(refusal.headers["retry-after"]) > 0
        workers = server.worker_pids()
        for path in ("/models/v2/usage", f"/models/v2/events/{MODEL}", "/models/v2/usage/req_unknown"):
            assert server.client.get(path, timeout=READ_S).status_code == 503
        for path in ("/models/v2/list/clusters", f"/models/v2/{MODEL}"):
            assert server.client.get(path, timeout=READ_S).status_code == 200
        assert server.put("tiny/gpt2", capacity={"min": 1, "desired": 1, "max": 1}).status_code == 503
        v1 = server.client.post("/model/run", json={"model": MODEL, "text": "hello"})
        assert v1.status_code == 503
        assert server.worker_pids() == workers
    wait_until(lambda: server.post(MODEL, text="hello").status_code == 200)
    assert server.worker_pids() == workers
    # Whatever was answered is written once, without a restart.
    assert requests_billed(server) == before + answered + 1
    server.kill()
    server.start(warm=False, boots=False)
    assert requests_billed(server) == before + answered + 1


def test_a_disk_that_is_about_to_be_full_takes_no_new_work_but_keeps_its_records(zoo: Path, tmp_path: Path) -> None:
    """Where the room that is to be kept is more than there is, nothing is accepted; what is read can be read."""
    server = Server(tmp_path, zoo, boots=False, MODELYARD_MIN_FREE_MB=str(2**40))
    server.start(warm=False)
    try:
        answer = wait_until(lambda: refusal if (refusal := server.post(MODEL, text="hello")).is_error else None)
        assert answer.status_code == 503
        assert "its disk is full" in answer.json()["error"]
        assert server.client.get("/models/v2/usage").status_code == 200
        assert "MB are kept free" in server.log.read_text()
        assert server.worker_pids() == []
    finally:
        server.client.close()
        server.stop()


def test_a_server_that_cannot_write_at_all_says_so_and_does_not_start(zoo: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, zoo)
    server._command[:0] = ["/bin/sh", "-c", 'ulimit -f 1; exec "$@"', "sh"]
    with pytest.raises(AssertionError, match="error: The disk that holds") as ended:
        server.start(warm=False)
    assert "Traceback" not in str(ended.value)
    server.client.close()
