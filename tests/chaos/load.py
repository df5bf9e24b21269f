"""Load of several accounts: every inference and every read that the document describes, streams, changes, jobs.

Holds no list of calls: an inference that is described later is asked for too, and an answer other than 200 or a refusal
counts as lost. Owns what was asked and what became of it. Kills nothing; who does says so beforehand.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.lives import moment
from tests.operations import KILLED, body_fields, inferences, reads, tasks_of
from tests.serving import Server

PLAIN, STREAMED, CHANGED = "tiny/classifier", "tiny/gpt2", "tiny/encoder"
EXPORTED = f"{PLAIN}.onnx"
"""A variant, whose workers are the annex's."""
OF_TASK = {"chat": "tiny/chat", "text-generation": STREAMED, "sentence-similarity": "tiny/sentences",
           "text-ranking": "tiny/ranker", "text-classification": PLAIN}  # fmt: skip
"""Whom a call is asked of that takes models of some tasks only."""
ADAPTED = "tuned/chat"
"""An adapter, which runs in the replicas of the model that chats: who kills one kills both."""
CLOSED = "acme/tiny/closed"
"""A closed model whose name at its provider has a slash."""
FORMS: tuple[dict[str, Any], ...] = (
    {"params": {"regex": "[a-z ]{1,400}"}},
    {"params": {"json_schema": {"type": "array", "items": {"type": "integer"}, "minItems": 30, "maxItems": 60}}},
    {"response_format": {"type": "json_object"}},
    {
        "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
    },
)
"""Forms that streams are held to, as one API or another has them."""
TEXT = "the cat"
GIVEN = {"messages": [{"role": "user", "content": TEXT}], "query": TEXT, "documents": [TEXT, "a dog"], "text_1": TEXT,
         "text_2": [TEXT, "a dog"], "texts": [TEXT, "a dog"], "inputs": TEXT, "max_tokens": 16}  # fmt: skip
"""What bodies hold besides the text that is drawn."""
MOST_WORDS = 4
"""For models that do not cut what is too long for them; the shortest reads 32 tokens."""
PAUSE_S = 0.05
CALL_S = 120.0
JOBS_EVERY_S = 20.0
GRACE_S = 5.0
"""For which what a disturbance excuses is excused after its end: what is noticed late is told late."""
RECOVERED_S = 20.0
"""After which a server that could not write begins new work again: it tries with every heartbeat, of ten seconds."""
REFUSED = {402, 429}
INFERRED = {200}
ANSWERED = "answered"
NOT_THERE = "found no server"
READS_WITH = {
    "org": "tiny", "model": "classifier", "task": "text-classification", "request_id": "x", "name": "x", "alias": "x",
    "response_id": "x", "account": "x", "key": "x",
}  # fmt: skip


@dataclass
class Spell:
    """When a disturbance was at work, and what may come of it: `refuses`, 503 before any work; `breaks_streams`;
    `ends_server`, whatever is open breaks; `fails_closed`, 502 or 503 from closed models."""

    refuses: bool
    breaks_streams: bool
    ends_server: bool
    begun: float
    ended: float = float("inf")
    fails_closed: bool = False

    def touches(self, begun: float, ended: float) -> bool:
        grace_s = RECOVERED_S if self.refuses else GRACE_S
        return self.begun <= ended and begun <= self.ended + grace_s


@dataclass(frozen=True, slots=True)
class Answered:
    """An inference that its client has the whole answer of. `at`: since when, in seconds since boot."""

    account: str
    at: float


@dataclass
class Outcomes:
    """What became of requests, by name: answered, refused, broken with their server, broken streams, lost."""

    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """By account: the inferences that may be on its bill."""
    answered: dict[str, Answered] = field(default_factory=dict)
    """By request: those that must be."""
    paths: Counter[str] = field(default_factory=Counter)
    """Answered inferences by the path of their call."""


@dataclass(frozen=True)
class Ask:
    """An inference of one model as one surface takes it. `path`: as described; `known`: the fields of its body."""

    path: str
    model: str
    known: frozenset[str]

    @property
    def url(self) -> str:
        *provider, org, name = self.model.split("/")
        return self.path.format(org=org, model=name, provider="".join(provider))

    @property
    def is_closed(self) -> bool:
        return self.model == CLOSED

    def body(self, **values: Any) -> dict[str, Any]:
        """Those of the values that it knows, and which model."""
        given = {"model": self.model, **GIVEN, **values}
        return {name: value for name, value in given.items() if name in self.known}


def asks_of(document: Mapping[str, Any], *models: str) -> list[Ask]:
    """Every inference that the document describes, of each of the models; of calls for models of some tasks, of one of
    those that are known here. Of closed models where the path is theirs."""
    return [
        Ask(path, model, frozenset(body_fields(operation, document)))
        for path, operation in sorted(inferences(document).items())
        for model in (models_of(tasks_of(operation)) if tasks_of(operation) else models)
        if (model == CLOSED) is ("{provider}" in path)
    ]


def models_of(tasks: Sequence[str]) -> list[str]:
    """A model of one of the tasks, where there is one here."""
    return [OF_TASK[task] for task in tasks if task in OF_TASK][:1]


class Load:
    """Clients that ask until they are told to end."""

    def __init__(
        self,
        server: Server,
        accounts: Mapping[str, httpx.Client],
        seed: int,
        exported: Sequence[str] = (),
        adapted: Sequence[str] = (),
        closed: Sequence[str] = (),
    ) -> None:
        """`exported`: variants that are asked for too; `adapted`: adapters; `closed`: models of a provider."""
        self._server = server
        self._accounts = accounts
        self._seed = seed
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.spells: list[Spell] = []
        self.outcomes = Outcomes()
        document = server.client.get("/openapi.json").json()
        self.reads = sorted(path.format(**READS_WITH) for path in reads(document))
        self.exported = exported
        self.adapted = adapted
        tuned = [ask for ask in asks_of(document, *adapted) if ask.model in adapted]
        self.asks = [*asks_of(document, PLAIN, *exported, *closed), *tuned]
        self.streams = [ask for ask in [*asks_of(document, STREAMED, *closed), *tuned] if "stream" in ask.known]

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

    def ask_once(self, name: str, client: httpx.Client, ask: Ask) -> None:
        """One inference, as those are counted that follow."""
        self._infer(name, client, ask, prompt=TEXT, input=TEXT)

    def _ask(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        ask = draw.choice(self.asks)
        text = "hello " * draw.randint(1, 50 if ask.model.startswith(PLAIN) else MOST_WORDS)
        self._infer(name, client, ask, prompt=text, input=text, inputs=text)

    def _stream(self, name: str, client: httpx.Client, draw: random.Random) -> None:
        most = draw.randint(1, 40)
        ask = draw.choice(self.streams)
        held = draw.choice([{}, *(form for form in FORMS if form.keys() <= ask.known and not ask.is_closed)])
        params = {"max_new_tokens": most, **held.get("params", {})}
        more = {**held, "params": params}
        self._infer(name, client, ask, prompt=TEXT, input=TEXT, inputs=TEXT, stream=True, max_tokens=most, **more)

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

    def _infer(self, name: str, client: httpx.Client, ask: Ask, **values: Any) -> None:
        with self._lock:
            self.outcomes.asked[name] += 1
        streamed = "stream" in values
        answer = self._note(
            "streams" if streamed else "inferences",
            lambda: client.post(ask.url, json=ask.body(**values)),
            streamed=streamed,
            whole=INFERRED,
        )
        if answer is not None and answer.status_code in INFERRED:
            with self._lock:
                self.outcomes.paths[ask.path] += 1
                self.outcomes.answered[answer.headers["x-request-id"]] = Answered(name, moment())

    def _note(
        self,
        what: str,
        ask: Callable[[], httpx.Response],
        *,
        streamed: bool = False,
        whole: Container[int] = range(500),
    ) -> httpx.Response | None:
        """Asks, and counts what became of it. `whole`: the statuses with which it is answered."""
        begun = moment()
        answer, broken = answer_to(ask)
        touched = [spell for spell in list(self.spells) if spell.touches(begun, moment())]
        fate = fate_of(answer, broken, touched, streamed=streamed, whole=whole)
        if fate == NOT_THERE:
            self._over.wait(1.0)
        with self._lock:
            self.outcomes.counts[f"{what} {fate}"] += 1
            if fate == "lost":
                told = broken if answer is None else f"{answer.status_code} {answer.text[-300:]} at {answer.url.path}"
                self.outcomes.lost.append(f"{what} at {begun:.1f}, after {moment() - begun:.1f} s: {told}")
        return answer


def answer_to(ask: Callable[[], httpx.Response]) -> tuple[httpx.Response | None, str]:
    try:
        return ask(), ""
    except httpx.ConnectError as error:
        return None, f"not connected: {error}"
    except httpx.HTTPError as error:
        return None, repr(error)


def fate_of(
    answer: httpx.Response | None, broken: str, touched: Sequence[Spell], *, streamed: bool, whole: Container[int]
) -> str:
    """What became of a request, given what was at work meanwhile. `whole`: the statuses of an answer."""
    if answer is not None and answer.status_code in REFUSED:
        return "refused: too many, or no credit"
    if answer is not None and answer.status_code in whole:
        return ANSWERED
    if any(spell.ends_server for spell in touched):
        return NOT_THERE if broken.startswith("not connected") else "broken with their server"
    if answer is not None and answer.status_code == 503 and any(spell.refuses for spell in touched):
        return "refused: no records"
    if answer is not None and answer.status_code in (502, 503) and any(spell.fails_closed for spell in touched):
        return "refused: what asks providers was killed"
    if is_given_up(answer) and any(spell.breaks_streams for spell in touched):
        return "refused: replicas killed too often"
    if streamed and any(spell.breaks_streams for spell in touched):
        return "broken with their replica"
    return "lost"


def is_given_up(answer: httpx.Response | None) -> bool:
    """Whether it is said that replicas were ended too often for another try."""
    return answer is not None and answer.status_code == 503 and any(each in answer.text for each in KILLED)
