"""What an open console costs a server that is busy: its requests, recorded in a browser, are made again beside a load.

`python -m benchmarks.open_console` records them anew, into `open_console.json`: of each page, what it asks in its first
twenty seconds. Made again they are one page after the other, opened anew every twenty seconds, streams held open for as
long. The load goes on
throughout; windows with the console open follow windows without, and the server's CPU time for each inference in the
one is held against that of its neighbours.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import httpx
import msgspec
import psutil

from benchmarks.models import ensure_model
from benchmarks.report import at_most, rounds

MODEL = "bench/classifier"
TEXT = "the cat sat on the mat and looked at the dog"
CLIENTS = 64
RECORDING = Path(__file__).with_suffix(".json")
PAGES = (f"clusters/{MODEL}", "machines", "clusters", "jobs", "models")
PAGE_S = 20.0
WINDOW_S = 10.0
PAIRS = rounds(30)
"""Ten minutes in all."""
MOST_CORE_PERCENT = 1.0


class Asked(msgspec.Struct):
    """One request of a page. `after_s`: since the page was opened; `streams`: its answer goes on."""

    page: str
    after_s: float
    method: str
    path: str
    streams: bool = False


def run() -> bool:
    """Prints what it costs; whether that is no more than promised."""
    from tests.serving import Server

    recorded = msgspec.json.decode(RECORDING.read_bytes(), type=list[Asked])
    models = ensure_model(MODEL, "bert_classifier")
    flags = ("--rate-limit", "0", "--calls-per-s", "1000")
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models, *flags) as server:
        server.run(MODEL, text=TEXT)
        with Load(server.port) as load:
            costs = asyncio.run(compare(server, load, recorded))
    error = stdev(costs) / len(costs) ** 0.5 if len(costs) > 1 else 0.0
    print(f"pairs of windows, error of their mean        {len(costs)}, {error:.2f} % of a core")
    return at_most("an open console, under load", mean(costs), MOST_CORE_PERCENT, "% of a core")


class Load:
    """As many inferences as the server answers, from a thread of this process. `answered`: so far."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), name="load")
        self.answered = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    async def _ask(self) -> None:
        await asyncio.gather(*(self._ask_again() for _ in range(CLIENTS)))

    async def _ask_again(self) -> None:
        from tests.e2e.loadgen import encode, read_answer

        request = encode(MODEL, {"text": TEXT})
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self._ends.is_set():
            writer.write(request)
            status, _ = await read_answer(reader)
            self.answered += status == 200
        writer.close()


async def compare(server: Any, load: Load, recorded: Sequence[Asked]) -> list[float]:
    """Of each pair of windows, by how many per cent of a core the console's was dearer for the inferences in it."""
    process = psutil.Process(server.process.pid)
    costs = []
    await asyncio.sleep(WINDOW_S)
    for number in range(PAIRS):
        without = await window(process, load)
        page = PAGES[number % len(PAGES)]
        begin_s = number // len(PAGES) * WINDOW_S % PAGE_S
        opened = asyncio.create_task(replay(server, [each for each in recorded if each.page == page], begin_s))
        with_it = await window(process, load)
        opened.cancel()
        with suppress(asyncio.CancelledError):
            await opened
        costs.append(100 * (with_it[0] - without[0] / without[1] * with_it[1]) / WINDOW_S)
    return costs


async def window(process: psutil.Process, load: Load) -> tuple[float, int]:
    """The CPU time of the server's own process in a window, and the inferences that were answered."""
    cpu_s, answered = sum(process.cpu_times()[:2]), load.answered
    await asyncio.sleep(WINDOW_S)
    return sum(process.cpu_times()[:2]) - cpu_s, load.answered - answered


async def replay(server: Any, asked: Sequence[Asked], begin_s: float) -> None:
    """What a page asks from a moment on; what it had opened before is open."""
    began = time.monotonic()
    headers = dict(server.client.headers)
    async with (
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        for each in asked:
            if each.streams or each.after_s >= begin_s:
                await asyncio.sleep(max(0.0, each.after_s - begin_s - (time.monotonic() - began)))
                group.create_task(ask(client, each))


async def ask(client: httpx.AsyncClient, asked: Asked) -> None:
    """One request, to the end of its answer."""
    async with client.stream(asked.method, asked.path) as answer:
        async for _ in answer.aiter_bytes():
            continue


def record() -> None:
    """Opens each page for a while, and writes down what it asks."""
    from tests.console.browser import chromium, console
    from tests.serving import Server

    models = ensure_model(MODEL, "bert_classifier")
    found: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models) as server, chromium() as browser:
        server.run(MODEL, text=TEXT)
        for page in PAGES:
            with console(browser, server) as shown:
                opened: list[tuple[float, Any]] = []
                began = time.monotonic()
                shown.on(
                    "request", lambda request, to=opened, since=began: to.append((time.monotonic() - since, request))
                )
                shown.goto(f"/#/{page}")
                shown.wait_for_timeout(PAGE_S * 1000)
                for after_s, request in opened:
                    path = request.url.removeprefix(server.url)
                    if path.startswith("/assets/"):  # a browser asks for each once, and keeps it for ever
                        continue
                    streams = path.split("?")[0].endswith("/live")
                    found.append(Asked(page, round(after_s, 2), request.method, path, streams))
    RECORDING.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    print(json.dumps({page: sum(each.page == page for each in found) for page in PAGES}))


if __name__ == "__main__":
    record()
