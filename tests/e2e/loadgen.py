"""Many HTTP requests at once from one thread, over plain asyncio streams: quick enough to keep a gateway busy."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine, Iterable
from typing import Any

from tests.serving import KEY


def encode(model_id: str, body: dict[str, Any], key: str = KEY) -> bytes:
    """A POST as it goes over the wire."""
    return encode_to(f"/models/v2/{model_id}", body, key)


def encode_to(path: str, body: dict[str, Any], key: str = KEY) -> bytes:
    """A POST to any path as it goes over the wire."""
    payload = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an answer that has a content-length."""
    status, headers = await read_head(reader)
    return status, await reader.readexactly(int(headers["content-length"]))


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, by their lower-case names."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


def post_each(port: int, model_id: str, bodies: list[dict[str, Any]], connections: int) -> list[tuple[int, bytes]]:
    """Sends every body, at most `connections` at once on as many connections; the answers in the bodies' order."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(bodies)
    left = iter(enumerate(bodies))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for index, body in left:
            writer.write(encode(model_id, body))
            answers[index] = await read_answer(reader)
        writer.close()
        await writer.wait_closed()

    run_together(work() for _ in range(connections))
    return answers


def leave_at_random(port: int, model_id: str, bodies: list[dict[str, Any]], longest_s: float, seed: int) -> None:
    """Sends every body on a connection of its own and hangs up at a random moment before `longest_s`."""
    chance = random.Random(seed)

    async def one(body: dict[str, Any], stay_s: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode(model_id, body))
        try:
            async with asyncio.timeout(stay_s):
                while await reader.read(65536):
                    pass
        except TimeoutError:
            pass
        writer.transport.abort()

    run_together(one(body, chance.uniform(0, longest_s)) for body in bodies)


def run_together(clients: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs clients at the same time, to their ends."""

    async def run_all() -> None:
        await asyncio.gather(*clients)

    asyncio.run(run_all())
