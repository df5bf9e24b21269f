"""The hostile one of two accounts: uses all that its quota gives it, in every way at once, until its input ends.

`python -m tests.attacks.hostile_account URL KEY`. A process of its own, so that what it does costs whoever measures
nothing but what it costs the server.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx

GENERATOR, SWITCHED, OTHER = "tiny/gpt2", "tiny/t5", "tiny/ner"
LONG = {"max_new_tokens": 200, "min_new_tokens": 200}
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Verifies by nothing, as `tests.serving`'s does, whose import would cost more than it saves."""
NICE = 10
"""So that its own part of the work is not the one that others wait for."""


def generate(client: httpx.Client) -> None:
    client.post(f"/models/v2/{GENERATOR}", json={"text": ["the cat"] * 8, "params": LONG})


def leave(client: httpx.Client) -> None:
    body = {"text": "the cat", "params": LONG, "stream": True}
    with client.stream("POST", f"/models/v2/{GENERATOR}", json=body) as answer:
        next(answer.iter_raw(), None)


def read(client: httpx.Client) -> None:
    for path in ("list/models?limit=10000", "usage?lines=true", f"events/{GENERATOR}?limit=1000", f"logs/{GENERATOR}"):
        client.get(f"/models/v2/{path}")


def switch(client: httpx.Client) -> None:
    client.put(f"/models/v2/{SWITCHED}", json={"capacity": {"min": 0, "desired": 1, "max": 2}})
    client.patch(f"/models/v2/{SWITCHED}", json={"status": "off"})
    client.delete(f"/models/v2/{SWITCHED}")


def guess(client: httpx.Client) -> None:
    client.post("/models/v2/nobody/nothing", json={"text": "a"})
    client.post(f"/models/v2/{GENERATOR}", content=b"[" * 100_000, headers={"content-type": "application/json"})
    client.post(f"/models/v2/request/{OTHER}", json={"retry": True})


def send_much(client: httpx.Client) -> None:
    client.post(f"/models/v2/{GENERATOR}", json={"text": "a " * 1_000_000})


HOSTILE: Sequence[tuple[Callable[[httpx.Client], None], int]] = (
    (generate, 8),
    (leave, 4),
    (read, 4),
    (switch, 1),
    (guess, 2),
    (send_much, 1),
)
"""What, and by how many connections at once."""


def act_until_input_ends(url: str, key: str) -> None:
    ended = threading.Event()

    def again_and_again(act: Callable[[httpx.Client], None]) -> None:
        with httpx.Client(base_url=url, headers={"authorization": key}, timeout=60.0, verify=PLAIN) as client:
            while not ended.is_set():
                with suppress(httpx.HTTPError):
                    act(client)

    threads = [threading.Thread(target=again_and_again, args=(act,)) for act, count in HOSTILE for _ in range(count)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    os.nice(NICE)
    act_until_input_ends(*sys.argv[1:])
