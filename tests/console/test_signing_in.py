"""Into the console and out again, in a browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelyard.accounts.keys import hash_key
from modelyard.accounts.sessions import write_code
from tests.console.browser import NARROW, console, sign_in, violations
from tests.serving import KEY, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_a_key_is_asked_for_and_kept_nowhere(browser: Browser, console_server: Server) -> None:
    with console(browser, console_server, key=None, refused=[401]) as page:
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("This API key is not known here").wait_for()
        assert violations(page) == []
        sign_in(page, KEY)
        page.reload()
        page.get_by_role("navigation").wait_for()
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert KEY not in kept
        assert "modelyard_session" not in kept
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()
        page.reload()
        page.get_by_label("API key").wait_for()


def test_a_code_in_the_address_signs_in_once(browser: Browser, console_server: Server) -> None:
    secret = console_server.command("keys", "create", "of a command")
    with console_server.client_of(secret) as client:
        key_id = client.get("/console/session").json()["output"]["keyId"]
    code = write_code(key_id, hash_key(secret), datetime.now(UTC))

    def come_with_it(page: Page) -> None:
        page.goto("about:blank")
        page.goto(f"/#/sign-in?code={code}")

    with console(browser, console_server, key=None, refused=[401]) as page:
        come_with_it(page)
        page.get_by_role("navigation").wait_for()
        assert code not in page.url
        come_with_it(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()
        come_with_it(page)
        page.get_by_text("good once").wait_for()
        sign_in(page, KEY)


def test_who_has_no_rights_of_the_operators_sees_no_page_of_theirs(browser: Browser, console_server: Server) -> None:
    key = console_server.command("keys", "create", "laptop", "--account", "ada")
    with console(browser, console_server, key=key, viewport=NARROW) as page:
        shown = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
        assert "Models" in shown
        assert {"Accounts", "Keys", "Machines"}.isdisjoint(shown)
        page.goto("/#/accounts")
        page.get_by_text("There is no such page").wait_for()
