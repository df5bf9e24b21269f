"""What people do in the console again and again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ANSWER_MS = 120_000


def open_playground(page: Page, model: str, beside: str = "") -> None:
    page.goto(f"/#/playground/{model}" + (f"?beside={beside}" if beside else ""))
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Send")).first.wait_for()


def run(page: Page, model: str) -> Locator:
    """Asks for what the form holds, and waits for the answer."""
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Send")).first.click()
    answer = page.get_by_label(f"Answer of {model}").last
    answer.get_by_text("done", exact=True).wait_for(timeout=ANSWER_MS)
    return answer


def set_to(page: Page, name: str, value: str) -> None:
    """Fills in a setting."""
    settings = page.locator("details", has_text="Settings").last
    if settings.get_attribute("open") is None:
        settings.locator("summary").click()
    settings.get_by_label(name, exact=True).fill(value)


def scale(page: Page, maximum: int) -> None:
    """On a cluster's page, lets it have no instance, and up to `maximum`; waits until its log says so."""
    page.get_by_role("button", name="Scale").click()
    page.get_by_label("Minimum").fill("0")
    page.get_by_label("Maximum").fill(str(maximum))
    page.get_by_role("button", name="Save").click()
    page.get_by_text(f"max {maximum}").first.wait_for()


def make_key(page: Page, name: str, account: str) -> str:
    """On the page of keys: the new key, which is shown once."""
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Account").fill(account)
    page.get_by_role("button", name="Make the key").click()
    made = page.get_by_role("dialog", name="The key is made")
    secret = made.get_by_text(re.compile(r"^my-")).inner_text()
    made.get_by_label("Close").click()
    return secret


def revoke(page: Page, name: str) -> None:
    """On the page of keys."""
    page.get_by_role("button", name=f"Revoke {name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text(f"{name} is revoked").wait_for()
