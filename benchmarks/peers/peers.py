"""The other servers and their settings: what is sent where, and how each is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BATCH = 32
"""As many as this server runs at once, and what each peer may put into one batch."""
ROWS = 16
"""Texts that are written at once: as many as there are clients."""
NEW_TOKENS = 32
SERVERS = Path(__file__).parent / "servers"

MakeBody = Callable[[str, Path, bool], object]
"""A request: of a text, the model's folder, and whether the answer is streamed."""


def text_alone(text: str, _folder: Path, _streams: bool) -> object:
    """As most take it."""
    return {"text": text}


def list_of_one(text: str, _folder: Path, _streams: bool) -> object:
    """BentoML's batches are lists, so each client sends one."""
    return {"texts": [text]}


def completion(text: str, folder: Path, streams: bool) -> object:
    """As OpenAI's clients send it. No token is taken for the end, so that all write equally many."""
    settings = f'{{"max_new_tokens": {NEW_TOKENS}, "do_sample": false, "eos_token_id": -1, "pad_token_id": 0}}'
    return {"model": str(folder), "prompt": text, "stream": streams, "generation_config": settings}


def own_program(name: str) -> Callable[[Path, Path, int], list[str]]:
    """A program in `servers`, which reads its settings from the environment."""
    return lambda python, _folder, _port: [str(python), str(SERVERS / f"{name}_server.py")]


def transformers_serve(python: Path, folder: Path, port: int) -> list[str]:
    """Continuous batching with small blocks and batches: with its own sizes it takes 11 GB, and half a minute."""
    blocks = ["--cb-block-size", "32", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "256"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "error"]
    program = [str(python), "-m", "transformers.cli.transformers", "serve", str(folder)]
    return [*program, "--continuous-batching", *blocks, *where]


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of others. `name`: with its setting; `environment`: of whose packages; `batch`: requests in one;
    `streams`: whether it answers in pieces, None: as it is asked to. `ports`: variables by which it is given more ports
    than the one it answers on. `sleeps`: it may be stopped for minutes; Ray's parts then take one another for dead.
    `command`: of its Python program, the model's folder and a port; None: a program of `servers`."""

    name: str
    environment: str
    path: str
    batch: int = 1
    streams: bool | None = False
    body: MakeBody = text_alone
    environ: Mapping[str, str] = field(default_factory=dict, hash=False)
    ports: tuple[str, ...] = ()
    sleeps: bool = True
    command: Callable[[Path, Path, int], list[str]] | None = None

    def starts(self, python: Path, folder: Path, port: int) -> list[str]:
        """What runs it."""
        return (self.command or own_program(self.environment))(python, folder, port)

    def answers(self, *, streamed: bool) -> bool:
        """Whether it can be asked so."""
        return self.streams is None or self.streams == streamed


HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, (os.cpu_count() or 1) // 2)),
}
"""Ray's own settings for throughput: HAProxy, which one of its packages brings, in place of its proxy in Python."""
HAPROXY_PORTS = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT")

MOSEC = Peer("mosec", "mosec", "/inference")
MOSEC_BATCHES = Peer("mosec, batches", "mosec", "/inference", BATCH)
LITSERVE = Peer("LitServe", "litserve", "/predict")
LITSERVE_BATCHES = Peer("LitServe, batches", "litserve", "/predict", BATCH)
BENTOML = Peer("BentoML", "bentoml", "/answer", body=list_of_one)
BENTOML_BATCHES = Peer("BentoML, batches", "bentoml", "/answer", BATCH, body=list_of_one)
RAY = Peer("Ray Serve", "ray", "/", sleeps=False)
RAY_HAPROXY = Peer("Ray Serve, HAProxy", "ray", "/", environ=HAPROXY, ports=HAPROXY_PORTS, sleeps=False)
RAY_HAPROXY_BATCHES = Peer(
    "Ray Serve, HAProxy, batches", "ray", "/", BATCH, environ=HAPROXY, ports=HAPROXY_PORTS, sleeps=False
)

MOSEC_WRITES = Peer("mosec, batches", "mosec", "/inference", ROWS)
LITSERVE_WRITES = Peer("LitServe, batches", "litserve", "/predict", ROWS)
LITSERVE_STREAMS = Peer("LitServe, streamed", "litserve", "/predict", streams=True, environ={"BENCH_STREAMS": "1"})
BENTOML_WRITES = Peer("BentoML, batches", "bentoml", "/answer", ROWS, body=list_of_one)
RAY_WRITES = Peer("Ray Serve, HAProxy, batches", "ray", "/", ROWS, environ=HAPROXY, ports=HAPROXY_PORTS, sleeps=False)
TRANSFORMERS = Peer(
    "transformers serve, continuous batching",
    "transformers",
    "/v1/completions",
    streams=None,
    body=completion,
    command=transformers_serve,
)
OURS = "Modelyard"
MEASURED = "Modelyard, measured"
"""After a job of the model, with the form, the batch and the threads that it found; the other one is as it comes."""
OWN = (OURS, MEASURED)
SHORT_WEIGHTS = "Modelyard, bf16"
"""With weights of 16 bits, which a model's owner may allow: answers differ a little, so that it counts by itself."""
ALONE = "in process"
"""The same model called in a loop, and in batches for many clients: what no server can surpass."""
