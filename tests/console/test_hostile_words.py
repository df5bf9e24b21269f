"""Words that others have chosen, of models, keys, accounts: they are shown as they are, and nothing in them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.browser import console
from tests.console.conftest import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.serving import Server


def nothing_ran(page: Page) -> bool:
    return bool(page.evaluate("window.ran === undefined && document.querySelector('main img, main script') === null"))


def test_what_a_models_files_say_is_text(page: Page) -> None:
    page.goto("/#/models/odd/hostile")
    page.get_by_text(HOSTILE).first.wait_for()
    assert nothing_ran(page)
    page.goto("/#/models?search=hostile")
    page.get_by_text("odd/hostile").wait_for()
    page.get_by_text(HOSTILE).first.wait_for()
    assert nothing_ran(page)


def test_names_in_addresses_and_of_keys_are_text(browser: Browser, console_server: Server) -> None:
    console_server.command("keys", "create", HOSTILE, "--account", "mallory")
    with console(browser, console_server) as page:
        page.goto("/#/keys")
        page.get_by_text(HOSTILE).first.wait_for()
        assert nothing_ran(page)
        page.evaluate("name => { location.hash = `#/models/${encodeURIComponent(name)}/x?search=${name}` }", HOSTILE)
        page.get_by_role("heading", name=f"{HOSTILE}/x").wait_for()
        assert nothing_ran(page)
