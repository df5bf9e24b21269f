"""What the benchmark of an open console asks is what the console asks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from benchmarks.open_console import MODEL, PAGES, RECORDING, Asked, Tab
from console.build import CONSOLE
from tests.catalog.models import model, write
from tests.console.browser import console
from tests.serving import Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ANEW = "`python -m benchmarks.open_console` records it anew"


def recorded() -> list[Asked]:
    return msgspec.json.decode(RECORDING.read_bytes(), type=list[Asked])


def test_every_page_is_recorded() -> None:
    listed = re.findall(r'^  page\("(\w+)"', (CONSOLE / "src/pages/index.ts").read_text("utf-8"), re.MULTILINE)
    assert {re.split("[/?]", page)[0] for page in PAGES} == set(listed), ANEW
    assert list(dict.fromkeys(each.page for each in recorded())) == list(PAGES), ANEW


def test_every_recorded_request_is_answered(console_server: Server) -> None:
    """Of another model: the server has not the one that was recorded."""
    asked = {(each.method, each.path, each.streams) for each in recorded()}
    for method, path, streams in sorted(asked):
        address = path.replace(MODEL, "many/m00").replace(MODEL.replace("/", "%2F"), "many%2Fm00")
        once = ("&" if "?" in address else "?") + "seconds=0" if streams else ""

        def answer(method: str = method, address: str = address + once) -> httpx.Response | None:
            response = console_server.client.request(method, address)
            return response if response.status_code != 429 else None  # who has read much is told to come back

        assert wait_until(answer).status_code == 200, f"{method} {path}; {ANEW}"


@pytest.mark.verify(part="console")
def test_the_console_asks_what_is_recorded(browser: Browser, tmp_path: Path) -> None:
    write(tmp_path / "models" / MODEL, model("BertForSequenceClassification", "bert"))
    with Server(tmp_path, tmp_path / "models", boots=False) as server, console(browser, server) as signed_in:
        assert server.put(MODEL, capacity={"min": 0, "desired": 0, "max": 1}).is_success
        expected = {page: {(each.method, each.path) for each in recorded() if each.page == page} for page in PAGES}
        tabs = {page: Tab(signed_in.context, server.url, page) for page in PAGES}

        def asked(page: str) -> set[tuple[str, str]]:
            tabs[page].shown.wait_for_timeout(20)  # what it asks is told meanwhile
            return {(each.method, each.path) for each in tabs[page].asked}

        def is_all_there() -> bool:
            return all(asked(page) >= expected[page] for page in PAGES)

        wait_until(is_all_there)
        assert {page: asked(page) for page in PAGES} == expected, ANEW
