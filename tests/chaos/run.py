"""One run: a server under load, disturbed for some time, then left alone; and what must hold at its end."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.attacks.memory import MIB
from tests.attacks.test_strangers import add_account
from tests.builders import build
from tests.builders.adapters import make_adapter, peft_config
from tests.chaos.bill import NOTICED_S, Bill, End, read_bill
from tests.chaos.databases import Database, open_database
from tests.chaos.disturbances import DISTURBANCES, PICTURES, Scene, kinds_for, plan, wait_until_answered
from tests.chaos.lives import Lives, moment, watched
from tests.chaos.load import (
    ADAPTED,
    CHANGED,
    CLOSED,
    EXPORTED,
    OF_TASK,
    PLAIN,
    RECOVERED_S,
    STREAMED,
    Load,
    Outcomes,
    Spell,
)
from tests.chaos.server import HOST
from tests.media.hosts import Host, file, redirect
from tests.providers.local import PACKAGES, Answer, Asked, LocalProvider, chunks, completion
from tests.serving import Server, wait_until

MODELS = {
    PLAIN: "bert_classifier", STREAMED: "gpt2", CHANGED: "bert_encoder", PICTURES: "vit_classifier",
    OF_TASK["chat"]: "llama_chat", OF_TASK["sentence-similarity"]: "sentence_transformer",
    OF_TASK["text-ranking"]: "bert_ranker",
}  # fmt: skip
BASE = OF_TASK["chat"]
ACCOUNTS = ("ada", "eve")
OPERATOR = "operator"
REPOSITORY = Path(__file__).parents[2]
TERMS = {
    "MODELYARD_BILLING_COUNTS": "life", "MODELYARD_BILLING_MINIMUM_S": "0", "MODELYARD_BILLING_ROUND_S": "0",
    "MODELYARD_JOB_BILLING": "on", "MODELYARD_JOB_BENCHMARK_S": "2", "MODELYARD_DRAIN_S": "20",
    "MODELYARD_REQUEST_TIMEOUT_S": "100",
}  # fmt: skip
"""What is billed is what instances' processes lived, to the microsecond, those of jobs too."""
REST_S = (0.5, 3.0)
"""Between two disturbances."""
ALL_TIME = {"since": "2000-01-01", "until": "2100-01-01"}
"""The period of a bill that holds all of it, whatever a server took the date for."""
PROVIDER_S = 0.1
"""For which a request to a provider is open."""
MOST_KEPT_BYTES = 80 * MIB


@dataclass
class Run:
    """What was done, and what there was at the end. `seed` makes the same plan again."""

    seed: int
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Outcomes = field(default_factory=Outcomes)
    lives: Lives = field(default_factory=Lives)
    ends: list[End] = field(default_factory=list)
    frozen: list[tuple[float, float]] = field(default_factory=list)
    """From when to when a parent of workers stood still."""
    left: dict[str, int] = field(default_factory=dict)
    bill: Bill | None = None
    fresh_bytes: int = 0
    held_bytes: int = 0
    secret_seen: int = 0
    seconds: float = 0.0

    note: Callable[[str], None] = str
    """Is told of each disturbance when it begins."""

    def problems(self) -> Iterator[str]:
        """What does not hold."""
        for lost in self.outcomes.lost:
            yield f"lost: {lost}"
        if any(self.left.values()):
            yield f"left: {self.left}"
        if self.bill is not None:
            yield from self.bill.problems()
        if self.held_bytes > self.fresh_bytes + MOST_KEPT_BYTES:
            yield f"the server holds {self.held_bytes // MIB} MiB, it began with {self.fresh_bytes // MIB} MiB"
        if self.secret_seen:
            yield f"a client made the server ask this machine {self.secret_seen} times"

    def words(self) -> Iterator[str]:
        """The run in words."""
        yield f"seed          {self.seed}, {self.seconds:.0f} s"
        yield "disturbances  " + ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        for what, count in sorted(self.outcomes.counts.items()):
            yield f"requests      {count:6} {what}"
        yield f"requests lost {len(self.outcomes.lost)}"
        yield "left over     " + ", ".join(f"{name} {count}" for name, count in self.left.items())
        for path, count in sorted(self.outcomes.paths.items()):
            yield f"answered      {count:6} at {path}"
        if self.bill is not None:
            yield from self.bill.words()
        yield f"memory        {self.fresh_bytes // MIB} MiB at first, {self.lives.most_bytes // MIB} MiB at most,"
        yield f"              {self.held_bytes // MIB} MiB at the end"
        yield f"own hosts     asked {self.secret_seen} times through names that were rebound or redirected"


def disturb(
    folder: Path,
    seed: int,
    seconds: float,
    hold_s: float = 3.0,
    kinds: Sequence[str] | None = None,
    rest_s: tuple[float, float] = REST_S,
    note: Callable[[str], None] = str,
    database: str = "sqlite",
    noticed_s: float = NOTICED_S,
) -> Run:
    """Runs a server with load for some time. `hold_s`: for how long something is held or frozen; `kinds`: what is
    done, in this order and once, else by the seed's plan; `rest_s`: between two of them; `noticed_s`: by how much a
    life and its line may differ."""
    for model, family in MODELS.items():
        build(family, folder / "models" / model)
    if kinds is None:
        lora = peft_config("LoraConfig", task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
        make_adapter(folder / "models" / BASE, folder / "models" / ADAPTED, lora, base_id=BASE)
    clock = folder / "clock"
    clock.write_text("0")
    run = Run(seed, note=note)
    with ExitStack() as stack:
        secret = stack.enter_context(Host(file(b"secret")))
        redirecting = stack.enter_context(Host(redirect(f"http://{HOST}:{secret.port}/a.png")))
        books = stack.enter_context(open_database(database, folder / "data"))
        provider = stack.enter_context(LocalProvider().running())
        provider.say = say_slowly
        server = open_server(folder, books, provider, CHAOS_CLOCK=str(clock), CHAOS_PORT=str(redirecting.port))
        stack.enter_context(server)
        clients = {
            name: stack.enter_context(add_account(server, name, "--database-url", books.url)) for name in ACCOUNTS
        }
        draw = random.Random(seed)
        scene = Scene(server, books, draw, clock, redirecting, secret, hold_s)
        run.lives = stack.enter_context(watched(server))
        chosen = kinds or plan(random.Random(seed), kinds_for(database))
        load = Load(server, clients, seed, *([each] if kinds is None else [] for each in (EXPORTED, ADAPTED, CLOSED)))
        run.outcomes = load.outcomes
        prepare(server, clients, load)
        run.fresh_bytes = held_bytes(server)
        begun = time.monotonic()
        with load.running():
            for kind in chosen:
                if kinds is None and time.monotonic() - begun > seconds:
                    break
                do(kind, scene, load, run)
                time.sleep(draw.uniform(*rest_s))
            clock.write_text("0")
            wait_until_answered(server)
        run.seconds = time.monotonic() - begun
        settle(server, clients, run)
        told = bills_of({**clients, OPERATOR: server.client})
        run.bill = read_bill(books, load, run.lives, run.ends, told, noticed_s, run.frozen)
        run.secret_seen = len(secret.requests)
    return run


def say_slowly(asked: Asked) -> Answer:
    """What the provider answers, after a while in which the request is open."""
    time.sleep(PROVIDER_S)
    if asked.body.get("stream"):
        return Answer(chunks(["a ", "cat"]), content_type="text/event-stream")
    return Answer(completion("a cat"))


def open_server(folder: Path, database: Database, provider: LocalProvider, **environ: str) -> Server:
    """A server whose clock and resolver can be turned, and whose closed models are the provider's."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src"), str(PACKAGES)])
    flags = ("--database-url", database.url)
    name = CLOSED.partition("/")[0]
    environ |= {"MODELYARD_PROVIDER_URLS": f"{name}={provider.url}", "MODELYARD_PROVIDER_KEYS": f"{name}=a-key"}
    server = Server(folder, folder / "models", *flags, PYTHONPATH=path, **TERMS, **environ)
    server._command[2] = "tests.chaos.server"
    return server


def prepare(server: Server, clients: dict[str, httpx.Client], load: Load) -> None:
    """Everybody's models run."""
    for model in load.exported:
        assert server.client.post(f"/models/v2/request/{model}", json={}).status_code == 200
        wait_until(lambda model=model: is_served(server, model), 120.0, 0.2)
    for client in clients.values():
        for model in (PLAIN, STREAMED, *load.exported, *load.adapted):
            client.put(f"/models/v2/{model}", json={"capacity": {"min": 1, "desired": 1, "max": 2}})
    for name, client in clients.items():
        for ask in (*load.asks, *load.streams):
            load.ask_once(name, client, ask)
    assert load.outcomes.lost == [], load.outcomes.lost
    wait_until_answered(server)


def is_served(server: Server, model: str) -> bool:
    """Whether a model is there and can be served."""
    listed = server.client.get("/models/v2/list/models", params={"modelId": model}).json()["output"]
    return any(entry["error"] is None for entry in listed)


def do(kind: str, scene: Scene, load: Load, run: Run) -> None:
    """One disturbance, known to the load as long as it lasts."""
    disturbance = DISTURBANCES[kind]
    process = scene.server.process
    assert process is not None
    assert process.poll() is None, f"the server has ended by itself, with status {process.poll()}"
    run.note(kind)
    spell = Spell(
        disturbance.refuses,
        disturbance.breaks_streams,
        disturbance.ends_server,
        moment(),
        fails_closed=disturbance.fails_closed,
    )
    written = written_until(load.spells, spell.begun)
    load.spells.append(spell)
    found = disturbance.work(scene)
    spell.ended = moment()
    if disturbance.ends_server:
        run.ends.append(End(spell.begun, scene.gone_at, written))
    if disturbance.freezes_parent:
        run.frozen.append((spell.begun, spell.ended))
    run.done[kind if found else f"{kind}: none there"] += 1


def written_until(spells: Sequence[Spell], now: float) -> float:
    """Up to when a server has surely written everything down, given when it could not."""
    held_up = [spell.begun for spell in spells if spell.refuses and spell.ended + RECOVERED_S > now]
    return min([now, *held_up])


def settle(server: Server, clients: dict[str, httpx.Client], run: Run) -> None:
    """Waits until nothing is under way, and reads what there is then."""
    everybody = [*clients.values(), server.client]
    for client in everybody:
        for cluster in client.get("/models/v2/list/clusters").json()["output"]:
            client.delete(f"/models/v2/{cluster['modelId']}")
    wait_until(lambda: not any(counters(server).values()), 120.0, 0.2)
    wait_until(lambda: server.worker_pids() == [], 120.0, 0.2)
    run.left = counters(server)
    for client in everybody:
        wait_until(lambda client=client: is_closed(client), 60.0, 0.5)
    run.held_bytes = held_bytes(server)


def counters(server: Server) -> dict[str, int]:
    """What the operator is told is under way."""
    health = server.client.get("/health").json()
    return {name: int(health[name]) for name in ("underWay", "inFlight", "queued")}


def is_closed(client: httpx.Client) -> bool:
    """Whether no line of a bill goes on."""
    return not any(line["open"] for line in usage(client)["lines"])


def bills_of(clients: Mapping[str, httpx.Client]) -> dict[str, dict[str, Any]]:
    """By account, all it has used."""
    return {name: usage(client) for name, client in clients.items()}


def usage(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/models/v2/usage", params={**ALL_TIME, "lines": "true"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["output"])


def held_bytes(server: Server) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)
