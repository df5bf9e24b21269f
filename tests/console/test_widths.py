"""The console on screens of any width: nothing sticks out, and where one is stays in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.browser import NARROW, check_widths

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving import Server

IN_SIGHT = """() => {
  const { left, right } = document.querySelector("nav [aria-current]").getBoundingClientRect();
  return left >= 0 && right <= innerWidth;
}"""


def test_wide_tables_become_cards_where_there_is_no_room_for_them(page: Page, console_server: Server) -> None:
    console_server.command("keys", "create", "for the machine that translates at night", "--account", "translations")
    for name, shown in (("Keys", "for the machine that translates"), ("Accounts", "translations")):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.get_by_role("row", name=shown).first.wait_for()
        check_widths(page, name)
        page.set_viewport_size({"width": 900, "height": 900})
        page.locator("table.cards").wait_for()
        page.set_viewport_size({"width": 1440, "height": 900})
        page.locator("table:not(.cards)").wait_for()


def test_the_navigation_shows_where_one_is_on_a_screen_that_shrinks(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Machines").click()
    page.get_by_text("No instance had to make room").wait_for()
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.wait_for_function(IN_SIGHT)
    page.set_viewport_size({"width": 360, "height": 900})
    page.wait_for_function(IN_SIGHT)
