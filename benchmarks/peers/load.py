"""Load over HTTP, the same for every server: wrk where it is installed, else a client of our own in its own process.

Owns how a figure is taken: so many clients, each with one connection, that send their next request when the last is
answered.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
"""In milliseconds, as wrk writes them."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go, and the key they bring."""

    port: int
    path: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did under one load. `rate`: requests per second; the others are milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


def load(address: Address, body: str, clients: int, seconds: int) -> Figures:
    """Loads a server for so long. Raises AssertionError when a request was not answered with 200."""
    return (load_by_wrk if shutil.which("wrk") else load_by_ourselves)(address, body, clients, seconds)


def client_name() -> str:
    """Which client makes the load."""
    return "wrk" if shutil.which("wrk") else "benchmarks.peers.load"


def load_by_wrk(address: Address, body: str, clients: int, seconds: int) -> Figures:
    """With one thread."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f'wrk.method = "POST"\nwrk.body = {json.dumps(body)}\nwrk.headers["content-type"] = "application/json"\n'
            f'wrk.headers["authorization"] = "Key {address.key}"\n'
        )
        script.flush()
        options = ("-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", script.name)
        url = f"http://127.0.0.1:{address.port}{address.path}"
        text = subprocess.run(["wrk", *options, url], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in text, text
    assert "Socket errors" not in text, text
    return Figures(float(find(r"Requests/sec:\s+([\d.]+)", text)[0]), percentile(text, 50), percentile(text, 99))


def percentile(text: str, share: int) -> float:
    """A percentile of the latency in what wrk writes."""
    value, unit = find(rf"\s{share}%\s+([\d.]+)(us|ms|s)\b", text)
    return float(value) * UNITS[unit]


def find(pattern: str, text: str) -> Sequence[str]:
    """The groups of a pattern that must be there."""
    found = re.search(pattern, text)
    assert found is not None, text
    return found.groups()


def load_by_ourselves(address: Address, body: str, clients: int, seconds: int) -> Figures:
    """In a process of its own."""
    order = json.dumps([address.port, address.path, address.key, body, clients, seconds])
    command = [sys.executable, "-m", "benchmarks.peers.load", order]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return Figures(*json.loads(done.stdout))


async def ask_for(address: Address, body: str, clients: int, seconds: int) -> list[float]:
    """How many milliseconds each request took."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    request = (
        f"POST {address.path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Key {address.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        while (begun := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            took.append(1000 * (time.perf_counter() - begun))
        writer.close()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return took


def main() -> None:
    """Carries out the order in its argument; prints the figures."""
    port, path, key, body, clients, seconds = json.loads(sys.argv[1])
    took = asyncio.run(ask_for(Address(port, path, key), body, clients, seconds))
    cuts = quantiles(took, n=100)
    print(json.dumps([len(took) / seconds, cuts[49], cuts[98]]))


if __name__ == "__main__":
    main()
