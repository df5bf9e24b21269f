"""Another process that uses a store: `Program` in the test, `main` in the process.

It reads one JSON command for each line, `{"url", "task", "args"}`, and answers each with one line of JSON.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Program:
    """A handle on the process. `start` sends a command and does not wait; `result` waits for its answer."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def start(self, url: str, task: str, *args: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"url": url, "task": task, "args": args}) + "\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def kill(self) -> list[Any]:
        """Kills it as `kill -9` does; what it had answered and nobody had read."""
        self.process.kill()
        assert self.process.stdout is not None
        rest = self.process.stdout.read().splitlines(keepends=True)
        return [json.loads(text) for text in rest if text.endswith("\n")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def run_together(programs: list[Program], url: str, task: str, *args: Any) -> list[Any]:
    """The answers of all `programs`, started at the same moment."""
    for program in programs:
        program.start(url, task, *args)
    return [program.result() for program in programs]


def main() -> None:
    from modelyard.store import Store

    for text in sys.stdin:
        command = json.loads(text)
        with Store.open(command["url"]) as store:
            answer = TASKS[command["task"]](store, *command["args"])
        _say(answer)


def nothing(store: Any) -> str:
    """Opens the store and closes it."""
    return "opened"


def ensure_account(store: Any, name: str) -> list[str]:
    account = store.accounts.ensure(name, NOW)
    return [account.id, store.keys.ensure(account.id, "admin", "hash", "my_1", NOW).id]


def put_cluster(store: Any, account_id: str, model_id: str) -> bool:
    from modelyard.records.clusters import Capacity

    return bool(store.clusters.put(account_id, model_id, Capacity(), 60, NOW)[1])


def put_clusters(store: Any, account_id: str, number: int) -> list[str]:
    """Makes clusters of its own, one after the other."""
    from modelyard.records.clusters import Capacity

    models = [f"org/of-{os.getpid()}-{n}" for n in range(number)]
    return [store.clusters.put(account_id, model, Capacity(), 60, NOW)[0].id for model in models]


def count_inferences(store: Any, cluster_ids: list[str], times: int) -> None:
    for round_ in range(times):
        order = cluster_ids if (os.getpid() + round_) % 2 else cluster_ids[::-1]
        store.clusters.add_inferences(dict.fromkeys(order, (1, NOW)))


def write_events(store: Any, account_id: str, batches: int, size: int) -> None:
    from modelyard.records.clusters import Event

    lines = [Event(account_id, "org/name", NOW, "note", f"from {os.getpid()}") for _ in range(size)]
    for _ in range(batches):
        store.events.add(lines)


def learn_facts(store: Any, model_id: str, number: int) -> list[str]:
    names = [f"fact_{os.getpid()}_{n}" for n in range(number)]
    for name in names:
        store.models.measure(model_id, memory_bytes=1, measured_at=NOW, **{name: True})
    return names


def claim_jobs(store: Any) -> list[str]:
    claimed = []
    while (job := store.jobs.claim("srv_test", NOW)) is not None:
        claimed.append(job.model_id)
    return claimed


def write_until_killed(store: Any, account_id: str, cluster_ids: list[str]) -> None:
    """Says a number once everything of that round is committed."""
    from modelyard.records.clusters import Event

    for number in count(1):
        store.clusters.add_inferences(dict.fromkeys(cluster_ids, (1, NOW)))
        store.events.add([Event(account_id, "org/name", NOW, "note", str(number))])
        _say(number)


def reserve_until_refused(store: Any, account_id: str, amount_nano: int) -> int:
    """How often it could set that much aside."""
    from modelyard.accounts.limits import check_funds
    from modelyard.errors import PaymentRequired
    from modelyard.records.requests import RequestRecord
    from modelyard.store.requests import Past

    for number in count():
        record = RequestRecord(f"req_{os.getpid()}_{number}", account_id, "org/name", 1, NOW, reserved_nano=amount_nano)
        try:
            store.requests.reserve(record, Past(NOW, 0, NOW, 0), check_funds)
        except PaymentRequired:
            return number
    raise AssertionError


def settle_each(store: Any, account_id: str, request_ids: list[str], times: int) -> None:
    """Settles every request, in an order of its own, so many times."""
    from modelyard.records.requests import RequestRecord

    for _ in range(times):
        records = [
            RequestRecord(id_, account_id, "org/name", 1, NOW, settled_at=NOW, outcome="answered", charged_nano=7)
            for id_ in (request_ids if os.getpid() % 2 else request_ids[::-1])
        ]
        for start in range(0, len(records), 7):
            store.requests.settle(records[start : start + 7])


def keep_a_ledger(store: Any, account_id: str, seed: int) -> dict[str, dict[str, int]]:
    """Writes lives and requests through a journal, as a server does: its own, whose figures are random, and shared
    ones, which are the same in every process. Instance id → µs that count; request id → what is charged."""
    import asyncio
    from dataclasses import replace
    from datetime import timedelta

    from msgspec import structs

    from modelyard.clock import SystemClock
    from modelyard.control.journal import Journal
    from modelyard.records.instances import Instance, Tariff
    from modelyard.records.requests import RequestRecord

    chance = random.Random(seed)
    shared = random.Random(2026)
    truth: dict[str, dict[str, int]] = {"lives": {}, "requests": {}}

    def plan(name: str, dice: random.Random, number: int) -> tuple[Instance, int, RequestRecord]:
        life = Instance(
            f"in_{name}_{number}", "cl", account_id, "org/name", name, dice.randint(1, 2**34), NOW, NOW,
            tariff=Tariff(16_666_700),
        )  # fmt: skip
        charged = dice.randint(0, 10**6)
        record = RequestRecord(
            f"req_{name}_{number}", account_id, "org/name", 1, NOW, settled_at=NOW, outcome="answered",
            cost_nano=charged, charged_nano=charged,
        )  # fmt: skip
        truth["requests"][record.id] = charged
        took_us = truth["lives"][life.id] = dice.randint(0, 10**9)
        return life, took_us, record

    async def write() -> None:
        journal = Journal(store, SystemClock())
        journal.start()
        plans = [plan(f"of{seed}", chance, number) for number in range(30)]
        plans += [plan("shared", shared, number) for number in range(20)]
        chance.shuffle(plans)
        for life, took_us, record in plans:
            ready, end = NOW + timedelta(seconds=3), NOW + timedelta(seconds=3, microseconds=took_us)
            journal.submit(partial(store.instances.open, replace(life, ready_at=ready)))
            for _ in range(chance.randint(0, 2)):  # of moments that lie within its life, in any order
                beat = NOW + timedelta(microseconds=chance.randint(0, took_us))
                journal.submit(partial(store.instances.heartbeat, [life.id], beat))
            journal.settle(record)
            if chance.random() < 0.3:
                journal.settle(structs.replace(record, charged_nano=10**9) if "shared" not in life.id else record)
            journal.submit(partial(store.instances.end, life.id, end, "idle"))
            if chance.random() < 0.3:  # a second server that finds it open, too late
                journal.submit(partial(store.instances.end, life.id, NOW + timedelta(days=9), "the server was killed"))
            if chance.random() < 0.2:
                await journal.flush()
        await journal.close()

    asyncio.run(write())
    return truth


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


TASKS: dict[str, Callable[..., Any]] = {
    task.__name__: task
    for task in (
        nothing,
        ensure_account,
        put_cluster,
        put_clusters,
        count_inferences,
        write_events,
        learn_facts,
        claim_jobs,
        write_until_killed,
        reserve_until_refused,
        settle_each,
        keep_a_ledger,
    )
}

if __name__ == "__main__":
    main()
