"""What an open console costs a server that is busy: its requests, recorded in a browser, are made again beside a load.

`python -m benchmarks.open_console` records them anew, into `open_console.json`: of each page, what it asks from the
moment that it is opened in a tab of its own. Made again they are page after page, of each its beginning in one window
and what follows it in another, streams held open for as long. The load goes on throughout; a window with the console
open lies between two without, and the server's CPU time for each inference in it is held against theirs.
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
from statistics import median
from typing import TYPE_CHECKING

import httpx
import msgspec
import psutil

from benchmarks.models import ensure_model
from benchmarks.report import at_most, interval, rounds

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Request

    from tests.serving import Server

MODEL = "bench/classifier"
TEXT = "the cat sat on the mat and looked at the dog"
CLIENTS = 64
RECORDING = Path(__file__).with_suffix(".json")
PAGES = (
    "models", f"models/{MODEL}", f"playground/{MODEL}", "clusters", "clusters?whose=all", f"clusters/{MODEL}",
    "jobs", "usage", "keys", "accounts", "aliases", "machines",
)  # fmt: skip
WINDOW_S = 8.0
PAGE_S = 2 * WINDOW_S
WINDOWS = rounds(3 * len(PAGES))
"""With the console open; with those between them ten minutes in all."""
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
    words = f"an open console, under load, {len(costs)} windows"
    return at_most(words, median(costs), MOST_CORE_PERCENT, "% of a core", interval(costs))


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


async def compare(server: Server, load: Load, recorded: Sequence[Asked]) -> list[float]:
    """By how many per cent of a core each window with the console was dearer than its neighbours, for the inferences in
    it."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    costs = []
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await sign_in(client)
        await asyncio.sleep(WINDOW_S)
        before = await window(process, load)
        for number in range(WINDOWS):
            page, begin_s = PAGES[number % len(PAGES)], number // len(PAGES) * WINDOW_S % PAGE_S
            opened = asyncio.create_task(replay(client, [each for each in recorded if each.page == page], begin_s))
            with_it = await window(process, load)
            opened.cancel()
            with suppress(asyncio.CancelledError):
                await opened
            after = await window(process, load)
            of_each_s = (before[0] + after[0]) / (before[1] + after[1])
            costs.append(100 * (with_it[0] - of_each_s * with_it[1]) / WINDOW_S)
            before = after
    return costs


async def sign_in(client: httpx.AsyncClient) -> None:
    """As somebody does in a browser: what it asks from now on is asked with a cookie."""
    from tests.serving import KEY

    headers = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}
    (await client.post("/console/session", json={"key": KEY}, headers=headers)).raise_for_status()


async def window(process: psutil.Process, load: Load) -> tuple[float, int]:
    """The CPU time of the server's own process in a window, and the inferences that were answered."""
    cpu_s, answered = sum(process.cpu_times()[:2]), load.answered
    await asyncio.sleep(WINDOW_S)
    return sum(process.cpu_times()[:2]) - cpu_s, load.answered - answered


async def replay(client: httpx.AsyncClient, asked: Sequence[Asked], begin_s: float) -> None:
    """What a page asks from a moment on; what it had opened before is open."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for each in asked:
            if each.streams or each.after_s >= begin_s:
                await asyncio.sleep(max(0.0, each.after_s - begin_s - (time.monotonic() - began)))
                group.create_task(ask(client, each))


async def ask(client: httpx.AsyncClient, asked: Asked) -> None:
    """One request, to the end of its answer. Raises HTTPStatusError where it is not answered as it was recorded."""
    async with client.stream(asked.method, asked.path) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_bytes():
            continue


class Tab:
    """A page of the console in a tab of its own, which it is opened in anew. `asked`: what it has asked so far."""

    def __init__(self, context: BrowserContext, url: str, page: str) -> None:
        """`context`: a browser in which somebody has signed in to the console at `url`."""
        self.shown = context.new_page()
        self.asked: list[Asked] = []
        self._page, self._url, self._began = page, url, time.monotonic()
        self.shown.on("request", self._note)
        self.shown.goto(f"{url}/#/{page}")

    def _note(self, request: Request) -> None:
        path = request.url.removeprefix(self._url).partition("#")[0]
        if not path.startswith("/") or path.startswith("/assets/"):  # a browser asks for each once, and keeps it
            return
        after_s = round(time.monotonic() - self._began, 2)
        self.asked.append(Asked(self._page, after_s, request.method, path, request.resource_type == "eventsource"))


def record() -> None:
    """Opens each page for a while, and writes down what it asks."""
    from tests.console.browser import chromium, console
    from tests.serving import Server

    models = ensure_model(MODEL, "bert_classifier")
    found: list[Asked] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), models) as server,
        chromium() as browser,
        console(browser, server) as signed_in,
    ):
        server.run(MODEL, text=TEXT)
        for page in PAGES:
            tab = Tab(signed_in.context, server.url, page)
            tab.shown.wait_for_timeout(PAGE_S * 1000)
            tab.shown.close()
            found += tab.asked
    RECORDING.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    print(json.dumps({page: sum(each.page == page for each in found) for page in PAGES}))


if __name__ == "__main__":
    record()
