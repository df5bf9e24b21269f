"""Requests over HTTP, from many clients at once, and how long each took. Owns the measuring; prints nothing.

Over plain streams: a library's client takes longer for a request than a small model does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

from modelyard.cli.problems import KeyLimited, ServerRefused, ServerUnreachable

CONNECT_S = 5.0
ANSWERED = 200
LIMITED = 429
END_OF_HEAD = b"\r\n\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Question:
    """What every client asks: the server's URL, the key to send, the model, the body."""

    url: str
    key: str | None
    model_id: str
    body: Mapping[str, Any]

    def encode(self) -> bytes:
        """As it goes over the wire."""
        payload = json.dumps(self.body).encode()
        where = urlsplit(self.url)
        key = "" if self.key is None else f"authorization: Key {self.key}\r\n"
        head = (
            f"POST {where.path.rstrip('/')}/models/v2/{self.model_id} HTTP/1.1\r\nhost: {where.netloc}\r\n{key}"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, in seconds. `first_s`: until the first piece of a stream; None where nothing was streamed."""

    took_s: float
    first_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of asking with so many clients. `first_...`: until a stream's first piece; None without streams."""

    clients: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float | None
    first_p99_ms: float | None


async def measure(question: Question, clients: int, seconds: float) -> Figures:
    """Each client asks at least once, and again as soon as it was answered, for so long; what is under way then is
    waited for.

    Raises ServerUnreachable, and ServerRefused for any answer but 200.
    """
    samples: list[Sample] = []
    request, begun = question.encode(), time.perf_counter()

    async def ask_again() -> None:
        reader, writer = await connect(question.url)
        try:
            while True:
                writer.write(request)
                samples.append(await read_answer(reader, question.model_id))
                if time.perf_counter() >= begun + seconds:
                    break
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ServerRefused(502, f"The answer broke off: {error}", question.model_id) from error
        finally:
            writer.close()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(ask_again())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return conclude(clients, samples, time.perf_counter() - begun)


async def connect(url: str) -> Stream:
    """A connection to the server. Raises ServerUnreachable."""
    where = urlsplit(url)
    secure = where.scheme == "https"
    port = where.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(
                where.hostname, port, ssl=ssl.create_default_context() if secure else None
            )
    except (OSError, TimeoutError) as error:
        raise ServerUnreachable(url, getattr(error, "strerror", None) or "no connection in time") from error


async def read_answer(reader: asyncio.StreamReader, model_id: str) -> Sample:
    """Reads one answer to its end. Raises ServerRefused, IncompleteReadError."""
    begun = time.perf_counter()
    first_line, *lines = (await reader.readuntil(END_OF_HEAD)).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first_line.split()[1])
    if "content-length" in headers:
        payload = await reader.readexactly(int(headers["content-length"]))
        if status != ANSWERED:
            raise refusal(status, payload, headers, model_id)
        return Sample(time.perf_counter() - begun, None)
    first_s = None
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        first_s = first_s or time.perf_counter() - begun
    await reader.readexactly(2)
    return Sample(time.perf_counter() - begun, first_s)


def refusal(status: int, payload: bytes, headers: Mapping[str, str], model_id: str) -> ServerRefused:
    """The error of an answer that is none."""
    try:
        message = str(json.loads(payload)["error"])
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {status}."
    kind = KeyLimited if status == LIMITED and headers.get("ratelimit-remaining") == "0" else ServerRefused
    return kind(status, message, model_id)


def conclude(clients: int, samples: list[Sample], took_s: float) -> Figures:
    """The figures of what was measured. Pure."""
    first = [sample.first_s for sample in samples if sample.first_s is not None]
    p50_ms, p99_ms = percentiles_ms([sample.took_s for sample in samples])
    first_p50_ms, first_p99_ms = percentiles_ms(first) if first else (None, None)
    return Figures(clients, len(samples), len(samples) / took_s, p50_ms, p99_ms, first_p50_ms, first_p99_ms)


def percentiles_ms(seconds: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds. Of one value both are that."""
    cuts = quantiles([*seconds, *seconds], n=100, method="inclusive")
    return 1000 * cuts[49], 1000 * cuts[98]
