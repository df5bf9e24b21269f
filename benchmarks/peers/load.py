"""Load over HTTP, the same for every server: wrk where it is installed, else a client of our own in its own process.

Owns how a figure is taken: so many clients, each with one connection, that send their next request when the last is
answered. Answers that are streamed are always read by our own client, which notes when the first of each came.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
"""In milliseconds, as wrk writes them."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go, and the key they bring."""

    port: int
    path: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent for how long: `bodies`, each client the next one, in a round. `echoed_bytes`: of each answer that
    come before what the model has written; None: answers are not streamed."""

    bodies: tuple[str, ...]
    clients: int
    seconds: int
    echoed_bytes: int | None = None
    by_ourselves: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did under one load. `rate`: requests per second, or tokens where a row counts those; the others
    are milliseconds. `first_ms`: the median until the first of what is streamed."""

    rate: float
    p50_ms: float
    p99_ms: float
    first_ms: float | None = None


def load(address: Address, wanted: Load) -> Figures:
    """Loads a server. Raises AssertionError when a request was not answered with 200."""
    own = wanted.by_ourselves or wanted.echoed_bytes is not None or not shutil.which("wrk")
    return (load_by_ourselves if own else load_by_wrk)(address, wanted)


def client_name() -> str:
    """Which client makes the load."""
    return "wrk" if shutil.which("wrk") else "benchmarks.peers.load"


def load_by_wrk(address: Address, wanted: Load) -> Figures:
    """With one thread."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\n'
            f'wrk.headers["authorization"] = "Key {address.key}"\nwrk.body = {json.dumps(wanted.bodies[0])}\n'
        )
        if len(wanted.bodies) > 1:
            script.write(
                f"local bodies, sent = {{{', '.join(map(json.dumps, wanted.bodies))}}}, 0\n"
                "function request()\n  sent = sent % #bodies + 1\n"
                "  return wrk.format(nil, nil, nil, bodies[sent])\nend\n"
            )
        script.flush()
        options = ("-t1", f"-c{wanted.clients}", f"-d{wanted.seconds}s", "--timeout", "60s", "--latency")
        url = f"http://127.0.0.1:{address.port}{address.path}"
        command = ["wrk", *options, "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in text, text
    assert "Socket errors" not in text, text
    return Figures(float(find(r"Requests/sec:\s+([\d.]+)", text)[0]), percentile(text, 50), percentile(text, 99))


def percentile(text: str, share: int) -> float:
    """A percentile of the latency in what wrk writes."""
    value, unit = find(rf"\s{share}%\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(value) * UNITS[unit]


def find(pattern: str, text: str) -> Sequence[str]:
    """The groups of a pattern that must be there."""
    found = re.search(pattern, text)
    assert found is not None, text
    return found.groups()


def load_by_ourselves(address: Address, wanted: Load) -> Figures:
    """In a process of its own."""
    order = json.dumps([asdict(address), asdict(wanted)])
    command = [sys.executable, "-m", "benchmarks.peers.load"]
    done = subprocess.run(command, input=order, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return Figures(*json.loads(done.stdout))


@dataclass(frozen=True, slots=True)
class Took:
    """One request: when it was answered, in seconds since the load began, and how long that and its first took."""

    ended_s: float
    all_s: float
    first_s: float


async def ask_for(address: Address, wanted: Load) -> list[Took]:
    """What every request took that was answered; those under way when the time is over are waited for."""
    took: list[Took] = []
    bodies = cycle(wanted.bodies)
    begun = time.perf_counter()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        while (sent := time.perf_counter()) < begun + wanted.seconds:
            writer.write(encode(address, next(bodies)))
            first = await read_answer(reader, wanted.echoed_bytes or 0)
            ended = time.perf_counter()
            took.append(Took(ended - begun, ended - sent, (first or ended) - sent))
        writer.close()

    await asyncio.gather(*(ask() for _ in range(wanted.clients)))
    return took


def encode(address: Address, body: str) -> bytes:
    """A request as it is sent."""
    return (
        f"POST {address.path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Key {address.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()


async def read_answer(reader: asyncio.StreamReader, echoed_bytes: int) -> float | None:
    """Reads one answer to its end; when more than so many bytes of it had come, of one that is streamed."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    if length := re.search(rb"(?i)content-length: *(\d+)", head):
        await reader.readexactly(int(length[1]))
        return None
    first, come = None, 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        come += size
        if first is None and come > echoed_bytes:
            first = time.perf_counter()
    await reader.readuntil(b"\r\n")
    return first


def figures_of(took: Sequence[Took], wanted: Load) -> Figures:
    """Of requests that take seconds the last may end long after the time: what counts is how long all took."""
    times = [each.all_s for each in took]
    cuts = quantiles(times * 2 if len(times) == 1 else times, n=100)
    rate = len(took) / max(wanted.seconds, *(each.ended_s for each in took))
    first_ms = None if wanted.echoed_bytes is None else 1000 * median(each.first_s for each in took)
    return Figures(rate, 1000 * cuts[49], 1000 * cuts[98], first_ms)


def main() -> None:
    """Carries out the order that it reads; prints the figures."""
    address, wanted = json.loads(sys.stdin.read())
    order = Load(**wanted)
    figures = figures_of(asyncio.run(ask_for(Address(**address), order)), order)
    print(json.dumps([figures.rate, figures.p50_ms, figures.p99_ms, figures.first_ms]))


if __name__ == "__main__":
    main()
