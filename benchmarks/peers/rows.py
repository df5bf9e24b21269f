"""What is compared: each row's model and requests, and which servers are asked how. Owns the targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.models import cache_dir
from benchmarks.peers import models
from benchmarks.peers.load import Figures
from benchmarks.peers.peers import (
    ALONE,
    BENTOML,
    BENTOML_BATCHES,
    BENTOML_WRITES,
    LITSERVE,
    LITSERVE_BATCHES,
    LITSERVE_STREAMS,
    LITSERVE_WRITES,
    MOSEC,
    MOSEC_BATCHES,
    MOSEC_WRITES,
    NEW_TOKENS,
    RAY,
    RAY_HAPROXY,
    RAY_HAPROXY_BATCHES,
    RAY_WRITES,
    SHORT_WEIGHTS,
    TRANSFORMERS,
    Peer,
)
from benchmarks.peers.targets import (
    Case,
    Target,
    best_p50_ratio,
    best_rate_ratio,
    first_ms,
    first_ratio,
    p50_above,
    p99_ratio,
    rate_of_one,
    rate_ratio,
)

Column = tuple[str, Case, Callable[[Figures], str]]
"""Its heading, the case it shows, and what of its figures."""

ONE, MANY = Case(1), Case(64)
ONE_STREAM, SIXTEEN, SIXTEEN_STREAMS = Case(1, streams=True), Case(16), Case(16, streams=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `task`: what peers do with a text (see `servers/model.py`). `make`: builds the model. `workers`:
    how many processes each server has for it, of so many `threads` with the peers. `measured`: ours is there twice,
    once after it was asked to find out how the model is served best. `seconds`: of one load, as a multiple of the
    usual. `tokens`: that one request counts as; 0: requests are counted. `short_weights`: ours is there once more, with
    weights of 16 bits."""

    name: str
    what: str
    task: str
    model: str
    make: Callable[[Path], None]
    texts: tuple[str, ...]
    cases: tuple[Case, ...]
    peers: tuple[Peer, ...]
    targets: tuple[Target, ...]
    columns: tuple[Column, ...]
    workers: int = 1
    threads: int = 1
    measured: bool = False
    short_weights: bool = False
    seconds: float = 1.0
    tokens: int = 0

    @property
    def folder(self) -> Path:
        """Where its model is."""
        return cache_dir() / self.model

    @property
    def unit(self) -> str:
        """What its rates count."""
        return "tokens/s" if self.tokens else "requests/s"

    def texts_of(self, load: int) -> tuple[str, ...]:
        """The texts of one load. What was read of a text that is gone on with is kept for the next one that begins
        so: each load has texts that none before it had, of the same length."""
        return tuple(map(partial(models.shifted_letters, load), self.texts)) if self.tokens else self.texts

    def cases_of(self, peer: Peer | None) -> Sequence[Case]:
        """How a server is asked; None: ours, which can be asked in every way."""
        return [case for case in self.cases if peer is None or peer.answers(streamed=case.streams)]


def latency(figures: Figures) -> str:
    """p50 and p99 in milliseconds."""
    return f"{figures.p50_ms:.2f}, {figures.p99_ms:.2f}"


def rate(figures: Figures) -> str:
    """Whole requests or tokens per second."""
    return f"{figures.rate:,.0f}"


def slow_rate(figures: Figures) -> str:
    """Of few requests per second."""
    return f"{figures.rate:.1f}"


def p99(figures: Figures) -> str:
    """In milliseconds."""
    return f"{figures.p99_ms:,.1f}"


def first(figures: Figures) -> str:
    """Milliseconds until the first token."""
    return f"{first_ms(figures):,.0f}"


SHORT_REQUESTS: tuple[Column, ...] = (
    ("1 client: p50, p99 in ms", ONE, latency),
    ("64 clients: requests/s", MANY, rate),
    ("p99 in ms", MANY, p99),
)
WRITING: tuple[Column, ...] = (
    ("1 client: tokens/s", ONE, rate),
    ("streamed", ONE_STREAM, rate),
    ("first token in ms", ONE_STREAM, first),
    ("16 clients: tokens/s", SIXTEEN, rate),
    ("streamed", SIXTEEN_STREAMS, rate),
    ("first token in ms", SIXTEEN_STREAMS, first),
)
WRITING_TARGETS = (
    Target(
        "16 clients, streamed: tokens/s as a multiple of a static batch's",
        rate_ratio(ALONE, SIXTEEN_STREAMS, SIXTEEN),
        0.88,
    ),
    Target("16 clients, tokens/s as a multiple of a static batch's", rate_ratio(ALONE, SIXTEEN), 0.93),
    Target(
        "16 clients, first token as a multiple of that of transformers serve",
        first_ratio(TRANSFORMERS.name, SIXTEEN_STREAMS),
        0.5,
        most=True,
    ),
    Target(
        "16 clients, first token as a multiple of a lone one's in process",
        first_ratio(ALONE, SIXTEEN_STREAMS, ONE_STREAM),
        4.0,
        most=True,
    ),
    Target("1 client: tokens/s as a multiple of those in process", rate_ratio(ALONE, ONE), 0.95),
)
CLASSIFIERS = (MOSEC, MOSEC_BATCHES, LITSERVE, LITSERVE_BATCHES, BENTOML_BATCHES, RAY_HAPROXY, RAY_HAPROXY_BATCHES)
IN_BATCHES = tuple(peer for peer in CLASSIFIERS if peer.batch > 1)
ONE_BY_ONE = tuple(peer for peer in CLASSIFIERS if peer.batch == 1)
GENERATE = Row(
    name="GENERATE",
    what=f"{NEW_TOKENS} tokens of a Llama of 27M parameters after some 30 of a prompt, no two alike; 1 worker",
    task="text-generation",
    model="bench/llama-27m",
    make=models.writer,
    texts=models.prompts(),
    cases=(ONE, ONE_STREAM, SIXTEEN, SIXTEEN_STREAMS),
    threads=os.cpu_count() or 1,
    peers=(TRANSFORMERS, MOSEC_WRITES, LITSERVE_WRITES, LITSERVE_STREAMS, BENTOML_WRITES, RAY_WRITES),
    columns=WRITING,
    seconds=1.2,
    tokens=NEW_TOKENS,
    targets=WRITING_TARGETS,
)
ROWS = (
    Row(
        name="ECHO",
        what="the text itself: what the server costs; 1 worker",
        task="echo",
        model="bench/echo",
        make=models.echo,
        texts=(models.SENTENCE,),
        cases=(ONE, MANY),
        peers=(MOSEC, MOSEC_BATCHES, LITSERVE, BENTOML, RAY, RAY_HAPROXY),
        columns=SHORT_REQUESTS,
        targets=(
            Target("64 clients, requests/s as a multiple of mosec's", rate_ratio(MOSEC.name, MANY), 1.0),
            Target("64 clients, p99 as a multiple of mosec's", p99_ratio(MOSEC.name, MANY), 2.0, most=True),
            Target("1 client, p50 above mosec's in ms", p50_above(MOSEC.name, ONE), 0.15, most=True),
        ),
    ),
    Row(
        name="NANO",
        what="a BERT of 2 layers × 64; 1 worker",
        task="text-classification",
        model="bench/nano",
        make=models.nano,
        texts=(models.SENTENCE,),
        cases=(ONE, MANY),
        peers=CLASSIFIERS,
        columns=SHORT_REQUESTS,
        measured=True,
        targets=(
            Target("64 clients, requests/s as a multiple of mosec's", rate_ratio(MOSEC_BATCHES.name, MANY), 1.0),
            Target("1 client, p50 above the one in process in ms", p50_above(ALONE, ONE), 0.7, most=True),
        ),
    ),
    Row(
        name="CLASSIFY",
        what="a BERT of 4 layers × 256 on some 30 tokens; 2 workers",
        task="text-classification",
        model="bench/classify",
        make=models.classify,
        texts=(models.PARAGRAPH,),
        cases=(ONE, MANY),
        workers=2,
        peers=CLASSIFIERS,
        columns=SHORT_REQUESTS,
        measured=True,
        short_weights=True,
        targets=(
            Target("1 client, p50 as a multiple of the best peer's", best_p50_ratio(CLASSIFIERS, ONE), 0.5, most=True),
            Target("64 clients, requests/s as a multiple of the best peer's", best_rate_ratio(CLASSIFIERS, MANY), 1.0),
            Target("64 clients, requests/s as a multiple of two processes' alone", rate_ratio(ALONE, MANY), 0.92),
            Target(
                "64 clients, weights of 16 bits: requests/s as a multiple of the best peer's",
                rate_of_one(SHORT_WEIGHTS, CLASSIFIERS, MANY),
                1.7,
            ),
        ),
    ),
    Row(
        name="MIXED",
        what="the model of CLASSIFY on texts of 5 to 500 tokens; 2 workers",
        task="text-classification",
        model="bench/classify",
        make=models.classify,
        texts=models.mixed_texts(),
        cases=(MANY,),
        workers=2,
        peers=CLASSIFIERS,
        columns=(("64 clients: requests/s", MANY, slow_rate), ("p50, p99 in ms", MANY, latency)),
        measured=True,
        seconds=1.6,
        targets=(
            Target("requests/s as a multiple of the best peer's in batches", best_rate_ratio(IN_BATCHES, MANY), 1.8),
            Target("requests/s as a multiple of the best peer's one by one", best_rate_ratio(ONE_BY_ONE, MANY), 0.95),
            Target("requests/s as a multiple of two processes' one by one", rate_ratio(ALONE, MANY), 0.93),
        ),
    ),
    GENERATE,
    replace(
        GENERATE,
        name="SMOLLM2",
        what=f"{NEW_TOKENS} tokens of SmolLM2-135M-Instruct, a real model, after some 30 of a prompt; 1 worker",
        model="bench/smollm2-135m",
        make=models.smollm2,
        peers=(TRANSFORMERS, MOSEC_WRITES),
        seconds=2.5,
    ),
)  # fmt: skip
