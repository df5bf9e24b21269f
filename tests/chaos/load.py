"""Load of several accounts: inferences plain and streamed, changes, jobs, and every read that the document describes.

Owns what was asked and what became of it. Kills nothing; who does says so beforehand.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.serving import Server

PLAIN, STREAMED, CHANGED = "tiny/classifier", "tiny/gpt2", "tiny/encoder"
PAUSE_S = 0.05
CALL_S = 120.0
JOBS_EVERY_S = 20.0
GRACE_S = 5.0
"""For which what a disturbance excuses is excused after its end: what is noticed late is told late."""
RECOVERED_S = 20.0
"""After which a server that could not write begins new work again: it tries with every heartbeat, of ten seconds."""
REFUSED = {402, 429}
ANSWERED = "answered"
NOT_THERE = "found no server"
READS_WITH = {"org": "tiny", "model": "classifier", "task": "text-classification", "request_id": "x", "name": "x"}


@dataclass
class Spell:
    """When a disturbance was at work, and what may come of it: `refuses`, 503 before any work; `breaks_streams`;
    `ends_server`, whatever is open breaks."""

    refuses: bool
    breaks_streams: bool
    ends_server: bool
    begun: float
    ended: float = float("inf")

    def touches(self, begun: float, ended: float) -> bool:
        grace_s = RECOVERED_S if self.refuses else GRACE_S
        return self.begun <= ended and begun <= self.ended + grace_s


@dataclass
class Outcomes:
    """What became of requests, by name: answered, refused, broken with their server, broken streams, lost."""

    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    inferences: Counter[str] = field(default_factory=Counter)
    """By account: those that may be on its bill."""
    answered: Counter[str] = field(default_factory=Counter)
    """Of them, those that must be."""


class Load:
    """Clients that ask until they are told to end."""

    def __init__(self, server: Server, accounts: Mapping[str, httpx.Client], seed: int) -> None:
        self._server = server
        self._accounts = accounts
        self._seed = seed
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.spells: list[Spell] = []
        self.outcomes = Outcomes()
        paths = server.client.get("/openapi.json").json()["paths"]
        self.reads = sorted(path.format(**READS_WITH) for path in paths if "get" in paths[path])

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within it every account does everything at once."""
        acts = (self._ask, self._ask, self._stream, self._read, self._change, self._order)
        threads = [
            threading.Thread(target=self._again, args=(name, act, random.Random(f"{self._seed} {name} {number}")))
            for name in self._accounts
            for number, act in enumerate(acts)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _again(self, name: str, act: Callable[[str, httpx.Client, random.Random], None], draw: random.Random) -> None:
        headers = {"authorization": self._accounts[name].headers["authorization"]}
        with httpx.Client(base_url=self._server.url, headers=headers, timeout=CALL_S) as client:
            while not self._over.wait(PAUSE_S):
                act(name, client, draw)

    def _ask(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        self._infer(name, lambda: client.post(f"/models/v2/{PLAIN}", json={"text": "hello " * draw.randint(1, 50)}))

    def _stream(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        params = {"max_new_tokens": draw.randint(1, 40)}
        body = {"text": "the cat", "stream": True, "params": params}
        self._infer(name, lambda: client.post(f"/models/v2/{STREAMED}", json=body), streamed=True)

    def _read(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        self._note("reads", lambda: client.get(draw.choice(self.reads)))

    def _change(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        path = f"/models/v2/{CHANGED}"
        desired = draw.randint(0, 1)
        change = {"capacity": {"min": 0, "desired": desired, "max": 2}}
        self._note("changes", lambda: client.put(path, json=change))
        if draw.random() < 0.3:
            self._note("changes", lambda: client.delete(path))
        self._over.wait(1.0)

    def _order(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        self._note("jobs", lambda: client.post(f"/models/v2/request/{PLAIN}", json={"retry": True}))
        self._over.wait(JOBS_EVERY_S)

    def _infer(self, name: str, ask: Callable[[], httpx.Response], *, streamed: bool = False) -> None:
        with self._lock:
            self.outcomes.inferences[name] += 1
        fate = self._note("streams" if streamed else "inferences", ask, streamed=streamed)
        if fate == ANSWERED:
            with self._lock:
                self.outcomes.answered[name] += 1

    def _note(self, what: str, ask: Callable[[], httpx.Response], *, streamed: bool = False) -> str:
        """Asks, and counts what became of it."""
        begun = time.monotonic()
        answer, broken = answer_to(ask)
        touched = [spell for spell in list(self.spells) if spell.touches(begun, time.monotonic())]
        fate = fate_of(answer, broken, touched, streamed=streamed)
        if fate == NOT_THERE:
            self._over.wait(1.0)
        with self._lock:
            self.outcomes.counts[f"{what} {fate}"] += 1
            if fate == "lost":
                told = broken if answer is None else f"{answer.status_code} {answer.text[-300:]}"
                self.outcomes.lost.append(f"{what} at {begun:.1f}, after {time.monotonic() - begun:.1f} s: {told}")
        return fate


def answer_to(ask: Callable[[], httpx.Response]) -> tuple[httpx.Response | None, str]:
    try:
        return ask(), ""
    except httpx.ConnectError as error:
        return None, f"not connected: {error}"
    except httpx.HTTPError as error:
        return None, repr(error)


def fate_of(answer: httpx.Response | None, broken: str, touched: list[Spell], *, streamed: bool) -> str:
    """What became of a request, given what was at work meanwhile."""
    whole = answer is not None and answer.status_code < 500
    if whole:
        return "refused" if answer is not None and answer.status_code in REFUSED else ANSWERED
    if any(spell.ends_server for spell in touched):
        return NOT_THERE if broken.startswith("not connected") else "broken with their server"
    if answer is not None and answer.status_code == 503 and any(spell.refuses for spell in touched):
        return "refused"
    if streamed and any(spell.breaks_streams for spell in touched):
        return "broken with their replica"
    return "lost"
