"""Finding a model in the console, and reading of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.browser import NARROW, console, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.serving import Server


def test_models_are_searched_and_narrowed(page: Page) -> None:
    page.get_by_role("region", name="Models").get_by_role("link").first.wait_for()
    assert violations(page) == []
    page.get_by_label("Search").fill("many/m1")
    page.get_by_text("10 models match").wait_for()
    page.get_by_label("Search").fill("")
    page.get_by_label("Runtime").select_option("diffusers")
    page.get_by_text("1 model matches").wait_for()
    assert "runtime=diffusers" in page.url
    page.reload()
    page.get_by_role("link", name="odd/painter").click()
    page.get_by_role("heading", name="odd/painter").wait_for()
    page.get_by_text("text-to-image").wait_for()


def test_a_models_page_says_what_is_known_and_how(browser: Browser, console_server: Server) -> None:
    with console(browser, console_server, viewport=NARROW) as page:
        page.goto("/#/models/odd/licensed")
        page.get_by_text("estimated from its files").wait_for()
        page.get_by_text("mit", exact=True).wait_for()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        page.goto("/#/models/nobody/nothing")
        page.get_by_text("No model of this name was found").wait_for()
