"""A list of 100,000 models: from the first to the last, the page answers all the while."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelyard.records.models import Listing
from modelyard.store.store import Store
from tests.console.browser import console
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST_PAINT_MS = 1000
LONG_TASK_MS = 100
MOST_ROWS = 500

SCROLL = """
async (last) => {
  const list = () => document.querySelector('main [role=region]');
  const tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
    .observe({ type: 'longtask' });
  let rows = 0;
  let frames = 0;
  const end = performance.now() + 240_000;
  while (!list().textContent.includes(last)) {
    if (performance.now() > end) throw new Error(`it ends with: ${document.body.innerText.slice(0, 500)}`);
    list().scrollTop = list().scrollHeight;
    await new Promise((done) => requestAnimationFrame(done));
    rows = Math.max(rows, document.querySelectorAll('main li').length);
    frames += 1;
  }
  return { longest: Math.max(0, ...tasks), rows, frames };
}
"""
"""Scrolls to the end again and again, until the last model is there; what was seen on the way, times in ms."""


def scroll(page: Page, count: int) -> dict[str, float]:
    page.set_default_timeout(300_000)
    page.get_by_text(name_of(0)).wait_for()
    seen: dict[str, float] = page.evaluate(SCROLL, name_of(count - 1))
    return seen


def name_of(number: int) -> str:
    return f"listed/model-{number:06}"


def fill(server: Server, count: int) -> None:
    """Writes so many models into the catalogue of a server that does not run yet."""
    now = datetime.now(UTC)
    server.data_dir.mkdir()
    with Store.open(f"sqlite:///{server.data_dir}/modelyard.db") as store:
        store.models.publish(
            [
                Listing(name_of(number), "hub", now, "text-generation", 2**30, "estimated", license="mit")
                for number in range(count)
            ]
        )


@pytest.mark.verify(part="console")
@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.timeout(900))])
def test_a_list_is_scrolled_from_the_first_to_the_last(browser: Browser, tmp_path: Path, count: int) -> None:
    (tmp_path / "models").mkdir()
    server = Server(tmp_path, tmp_path / "models", boots=False)
    fill(server, count)
    with server, console(browser, server) as page:
        page.goto("/#/models?search=listed/")
        seen = scroll(page, count)
        print(f"{count} models: {seen}")
        assert seen["rows"] < MOST_ROWS
        if count > 10_000:  # times of a quiet machine
            assert seen["longest"] <= LONG_TASK_MS
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            assert paint < FIRST_PAINT_MS
