"""A request that ends its replica, or keeps it busy for ever, fails alone: what shared the replica is answered."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from tokenizers import Tokenizer

from tests.attacks.conftest import CANCEL_GRACE_S
from tests.attacks.registry import attack_on
from tests.builders import build
from tests.serving import Server, wait_until

MODEL = "own/classifier"
UNSAFE = (MODEL,)
GOOD, DEADLY, HOLDING, RELEASING = "the time", "the forest", "the berlin", "the germany"
"""Texts of one batch. The second kills its worker; the others never end, with the interpreter's lock and without it."""
GREEDY, ABORTING = "the france", "the brazil"
"""Two more, for which there is no memory: the first fails, the second ends its worker as C++ does."""
NEIGHBOURS = 3
PATIENCE_S = 60.0
"""What clients wait for an answer at most."""
CODE = """
import ctypes, os, signal, time
import torch
from transformers import BertConfig, BertForSequenceClassification


class OwnConfig(BertConfig):
    model_type = "own"


class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig

    def forward(self, input_ids, **named):
        if (input_ids == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (input_ids == HOLDING).any():
            ctypes.PyDLL(None).sleep(3600)
        if (input_ids == GREEDY).any():
            torch.empty(1 << 50, dtype=torch.uint8)
        if (input_ids == ABORTING).any():
            ctypes.CDLL("libstdc++.so.6")._Znwm(ctypes.c_size_t(1 << 40))
        while (input_ids == RELEASING).any():
            time.sleep(0.1)
        return super().forward(input_ids=input_ids, **named)
"""


def write_model(models: Path) -> None:
    """The model whose own code knows those texts."""
    folder = models / MODEL
    build("bert_classifier", folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    common = set(tokenizer.encode(GOOD).ids)
    code = CODE
    for name, text in {
        "DEADLY": DEADLY,
        "HOLDING": HOLDING,
        "RELEASING": RELEASING,
        "GREEDY": GREEDY,
        "ABORTING": ABORTING,
    }.items():
        (mark,) = set(tokenizer.encode(text).ids) - common
        code = code.replace(name, str(mark))
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": classes}))


@pytest.fixture(scope="module")
def server(attacked_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("lost")
    write_model(models)
    with attacked_server.with_models(models) as server:
        yield server


@pytest.fixture(autouse=True)
def one_replica(server: Server) -> Iterator[None]:
    server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
    server.wait_for(MODEL, status="running", ready=1)
    yield
    server.delete(MODEL)


@contextmanager
def frozen(server: Server) -> Iterator[int]:
    """The worker, which takes nothing up until the end: what is sent meanwhile becomes one batch."""
    pid = server.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):  # its request's deadline came first
            os.kill(pid, signal.SIGCONT)


def post(server: Server, text: str, timeout: str | None = None) -> httpx.Response:
    headers = {} if timeout is None else {"x-request-timeout": timeout}
    path = f"/models/v2/{MODEL}"
    return server.client.post(path, json={"text": text}, headers=headers, timeout=PATIENCE_S)


@contextmanager
def in_one_batch(
    server: Server, text: str, timeout: str | None = None
) -> Iterator[tuple[Future[httpx.Response], list[Future[httpx.Response]], int]]:
    """A request with `text` and its neighbours, under way; and the worker that has them."""
    with ThreadPoolExecutor() as pool:
        with frozen(server) as pid:
            neighbours = [pool.submit(post, server, GOOD) for _ in range(NEIGHBOURS)]
            wait_until(lambda: server.load()[0] == NEIGHBOURS)
            guilty = pool.submit(post, server, text, timeout)
            wait_until(lambda: guilty.done() or server.load()[0] == 1 + NEIGHBOURS)
        yield guilty, neighbours, pid


def assert_answered(neighbours: list[Future[httpx.Response]]) -> None:
    answers = [each.result() for each in neighbours]
    assert [answer.status_code for answer in answers] == [200] * NEIGHBOURS, [answer.text for answer in answers]


def failures(server: Server, words: str) -> int:
    """How many replicas have ended for that reason, once a second one is known to: requests learn it sooner."""

    def count() -> int:
        return sum(words in line for line in server.events(MODEL))

    wait_until(lambda: count() >= 2)
    return count()


@attack_on(write_model, unsafe=MODEL)
def kill_replicas(server: Server) -> None:
    """One request, which ends two of them."""
    server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
    assert post(server, DEADLY).status_code == 503
    server.delete(MODEL)


def test_a_request_that_kills_its_worker_fails_alone_and_kills_two_at_most(server: Server) -> None:
    with in_one_batch(server, DEADLY) as (guilty, neighbours, _):
        answer = guilty.result()
        assert_answered(neighbours)
    assert answer.status_code == 503, answer.text
    assert "2 replicas died while they held this request" in answer.json()["error"]
    assert failures(server, "failed: killed by SIGKILL") == 2, server.events(MODEL)
    wait_until(lambda: server.load() == (0, 0))


def test_a_request_that_there_is_no_memory_for_fails_alone_with_the_figures(server: Server) -> None:
    with in_one_batch(server, GREEDY) as (guilty, neighbours, pid):
        answer = guilty.result()
        assert_answered(neighbours)
    assert answer.status_code == 413, answer.text
    figures = r"its replica holds [\d,]+ MB,.* and needed 1,073,741,824 MB more at once"
    assert re.search(figures, answer.json()["error"]), answer.text
    assert server.worker_pids() == [pid]


def test_a_request_that_kills_its_worker_for_want_of_memory_is_told_the_figures(server: Server) -> None:
    with in_one_batch(server, ABORTING) as (guilty, neighbours, _):
        answer = guilty.result()
        assert_answered(neighbours)
    assert answer.status_code == 413, answer.text
    assert re.search(r"its replica holds [\d,]+ MB, may hold [\d,]+ MB\. Send a shorter", answer.json()["error"])
    assert failures(server, "killed by SIGABRT: it had no more memory") == 2, server.events(MODEL)
    wait_until(lambda: server.load() == (0, 0))


@pytest.mark.parametrize("text", [HOLDING, RELEASING], ids=["with the lock", "without it"])
def test_a_request_that_never_ends_is_cut_off_and_its_neighbours_are_answered(server: Server, text: str) -> None:
    with in_one_batch(server, text, timeout="2") as (guilty, neighbours, pid):
        answer = guilty.result()
        assert answer.status_code == 504, answer.text
        assert_answered(neighbours)
        wait_until(lambda: not psutil.pid_exists(pid))
    words = f"went on for {CANCEL_GRACE_S:g} s with a request that was cancelled"
    wait_until(lambda: any(words in line for line in server.events(MODEL)))
    wait_until(lambda: server.load() == (0, 0))
