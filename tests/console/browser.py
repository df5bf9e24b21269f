"""A browser at a server's console: Debian's Chromium, driven by Playwright. What the page complains of fails a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving import KEY, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "There is no Chromium here, in which the console is tested: apt-get install --yes chromium"
PATIENCE_MS = 60_000
"""For what is to be seen: on any machine it is there long before."""
FAKE_DEVICES = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera and a microphone that are none, which every page may use."""
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WIDTHS = (360, 390, 700, 900, 1140, 1440)
"""From the narrowest on, everything can be read without scrolling to the right."""
FITS = """async () => {
  for (let frame = 0; frame < 5; frame++) await new Promise((done) => requestAnimationFrame(done));
  return document.documentElement.scrollWidth <= document.documentElement.clientWidth;
}"""
"""Whether nothing sticks out, once the page has taken up its size, which takes it a frame or two."""
PICTURES = os.environ.get("MODELYARD_TEST_SCREENSHOTS")
"""A folder in which what is looked at is kept: `MODELYARD_TEST_SCREENSHOTS=docs/console make verify-console`."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, for as long as the block runs. Fails where there is none."""
    from playwright.sync_api import sync_playwright  # takes half a second to import

    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(MISSING)
    flags = [*FAKE_DEVICES, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program, args=flags) as browser:
        yield browser


@contextmanager
def console(
    browser: Browser, server: Server, *, key: str | None = KEY, refused: Sequence[int] = (), **settings: object
) -> Iterator[Page]:
    """A page of the console, signed in with `key`, in a browser that knows nothing of others. `refused`: statuses that
    the test has the server answer with, which browsers complain of (0: connections that it has break); `settings`: see
    Playwright's new_context. Fails at the end where the page has thrown, broken its policy, or complained of anything
    else."""
    with browser.new_context(base_url=server.url, **{"viewport": WIDE, **settings}) as context:  # type: ignore[arg-type]
        page = context.new_page()
        complaints = listen(page, refused)
        page.set_default_timeout(PATIENCE_MS)
        try:
            page.goto("/")
            if key is not None:
                sign_in(page, key)
            yield page
        except Exception:
            print(f"at {page.url}: {page.inner_text('body')[:2000]}; {complaints}")
            raise
        assert complaints == []


def sign_in(page: Page, key: str) -> None:
    """Fills in the first thing that one sees."""
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation").wait_for()


def listen(page: Page, refused: Sequence[int]) -> list[str]:
    """What the page will have complained of."""
    complaints: list[str] = []
    expected = [f"the server responded with a status of {status}" if status else "net::ERR_" for status in refused]

    def note(message: ConsoleMessage) -> None:
        is_expected = any(words in message.text for words in expected)
        if message.type in ("error", "warning") and not is_expected:
            complaints.append(f"{message.text} ({message.location['url']})")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is, for those who do not see it or use no mouse."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]


def look(page: Page, name: str) -> None:
    """Holds the page as it is against what those need who do not see it, in both themes and widths, and against
    screens of any width; keeps pictures."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            assert violations(page) == [], f"{name}, {theme}, {size['width']}"
            if PICTURES:
                page.evaluate("scrollTo(0, 0)")
                keep(page.screenshot(), Path(PICTURES) / f"{name}-{theme}-{size['width']}.png")
    check_widths(page, name)


def check_widths(page: Page, name: str) -> None:
    """Fails where the page sticks out at the right of a screen."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        sticks_out = f"{name}: something sticks out of a screen of {width} px"
        assert page.evaluate(FITS), sticks_out
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def keep(picture: bytes, path: Path) -> None:
    """Writes a picture with as many colours as a palette has, which is a third of its size."""
    from PIL import Image

    drawn = Image.open(BytesIO(picture)).convert("RGB")
    drawn.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
