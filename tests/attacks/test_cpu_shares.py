"""Processors are shared by account: one with four busy workers gets about as much as another with one."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.attacks.test_strangers import add_account
from tests.serving import Server, cpu_s, wait_until

NOT_REPEATED = "It is about processors: workers compute, and their server waits."

MODEL = "tiny/gpt2"
WORKERS = 4
LONG = {"text": ["the cat"] * 8, "params": {"max_new_tokens": 60, "min_new_tokens": 60}}
WATCHED_CPU_S = 2.5
"""Of all workers together, before they are compared."""
BUSY_S = 180.0
"""What that may take where others have the processor for most of the time."""


def start_workers(server: Server, client: httpx.Client, count: int) -> list[psutil.Process]:
    """The processes of so many workers, once they are ready."""
    before = set(server.worker_pids())
    capacity = {"min": count, "desired": count, "max": count}
    assert client.put(f"/models/v2/{MODEL}", json={"capacity": capacity}).status_code == 202
    wait_until(lambda: client.get(f"/models/v2/{MODEL}").json()["output"]["ready"] == count)
    return [worker for worker in server.workers() if worker.pid not in before]


def crowd(workers: list[psutil.Process]) -> None:
    """Has all of them run on one core: how they share it depends on nobody else, and is no matter of balance."""
    core = min(os.sched_getaffinity(0))
    for worker in workers:
        for thread in Path(f"/proc/{worker.pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread.name), {core})


def together_s(workers: list[psutil.Process]) -> float:
    return sum(map(cpu_s, workers))


def test_an_account_with_many_workers_gets_no_more_than_one_with_one(server: Server) -> None:
    with add_account(server, "ada") as ada, add_account(server, "eve") as eve:
        theirs, (mine,) = start_workers(server, eve, WORKERS), start_workers(server, ada, 1)
        crowd([*theirs, mine])
        ended = threading.Event()

        def keep_busy(client: httpx.Client) -> None:
            while not ended.is_set():
                assert client.post(f"/models/v2/{MODEL}", json=LONG).status_code == 200

        clients = [eve] * 2 * WORKERS + [ada] * 2
        threads = [threading.Thread(target=keep_busy, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: all(cpu_s(each) > 0.3 for each in (*theirs, mine)), BUSY_S)
            before = cpu_s(mine), together_s(theirs)
            wait_until(lambda: together_s([mine, *theirs]) - sum(before) > WATCHED_CPU_S, BUSY_S)
            of_mine, of_theirs = cpu_s(mine) - before[0], together_s(theirs) - before[1]
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            for client in (ada, eve):
                client.delete(f"/models/v2/{MODEL}")
    # By process it would be one; by account it is four, less what one thread cannot use of several cores.
    assert of_mine / (of_theirs / WORKERS) > 1.7, (of_mine, of_theirs)
