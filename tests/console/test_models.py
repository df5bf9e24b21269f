"""Finding a model in the console, and reading of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.browser import NARROW, console, sign_in, violations
from tests.serving import KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.serving import Server


def test_models_are_searched_and_narrowed(page: Page) -> None:
    page.get_by_role("region", name="Models").get_by_role("link").first.wait_for()
    assert violations(page) == []
    page.get_by_label("Search").fill("many/m1")
    page.get_by_text("10 models match").wait_for()
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    page.get_by_text("91 models").wait_for()
    assert page.get_by_label("Search").input_value() == ""
    page.go_back()
    page.get_by_text("10 models match").wait_for()
    assert page.get_by_label("Search").input_value() == "many/m1"
    page.get_by_label("Search").fill("")
    page.get_by_label("Runtime").select_option("diffusers")
    page.get_by_text("1 model matches").wait_for()
    assert "runtime=diffusers" in page.url
    page.reload()
    page.get_by_role("link", name="odd/painter").click()
    page.get_by_role("heading", name="odd/painter").wait_for()
    page.get_by_text("text-to-image").wait_for()


def test_a_list_begins_with_what_is_here_and_goes_on_after_pages_that_failed(
    browser: Browser, console_server: Server
) -> None:
    failing: dict[str, int | str | None] = {"status": 429}

    def answer(route: Route) -> None:
        if failing["status"] is None:
            route.continue_()
        elif failing["status"] == 0:
            route.abort()
        elif failing["status"] == "cut off":
            route.fulfill(body='{"error": null, "outp')
        else:
            route.fulfill(status=failing["status"], json={"error": f"This is {failing['status']}.", "output": None})

    with console(browser, console_server, key=None, refused=(429, 503, 0)) as page:
        page.route("**/list/models?*here=false*", answer)
        sign_in(page, KEY)
        page.get_by_role("region", name="Models").get_by_role("link", name="many/m00").wait_for()
        page.get_by_text("45+ models").wait_for()
        page.get_by_role("alert").get_by_text("This is 429.").wait_for()
        failing["status"] = "cut off"
        page.get_by_role("alert").get_by_text("The server was not reached").wait_for()
        failing["status"] = 503
        page.get_by_role("alert").get_by_text("This is 503.").wait_for()
        failing["status"] = 0
        page.get_by_role("alert").get_by_text("The server was not reached").wait_for()
        failing["status"] = None
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("91 models").wait_for()
        assert page.get_by_role("alert").count() == 0


def test_a_model_that_is_not_served_is_marked_in_lists_of_any_width(page: Page) -> None:
    page.get_by_label("Search").fill("odd/broken")
    for width in (NARROW["width"], 900, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_role("link", name="odd/broken").get_by_text("not served").wait_for()


def test_a_models_page_says_what_is_known_and_how(browser: Browser, console_server: Server) -> None:
    with console(browser, console_server, viewport=NARROW) as page:
        page.goto("/#/models/odd/licensed")
        page.get_by_text("estimated from its files").wait_for()
        page.get_by_text("mit", exact=True).wait_for()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        page.goto("/#/models/nobody/nothing")
        page.get_by_text("No model of this name was found").wait_for()
        page.get_by_role("link", name="Find models with a name like it").click()
        page.wait_for_url("**/#/models?search=nothing")


def test_dead_ends_lead_to_models(page: Page) -> None:
    for place, words, link, leads_to in (
        ("nowhere", "There is no such page.", "Show the models", "models"),
        ("playground", "Choose a model.", "Show all models", "models"),
        ("playground/nobody/nothing", "No model of this name was found.", "Find models", "models?search=nothing"),
    ):
        page.goto(f"/#/{place}")
        page.get_by_text(words, exact=True).wait_for()
        page.get_by_role("main").get_by_role("link", name=link).click()
        page.wait_for_url(f"**/#/{leads_to}")


def test_a_server_that_does_not_answer_is_waited_for_a_minute(page: Page) -> None:
    page.evaluate("""() => {
      const timeout = AbortSignal.timeout.bind(AbortSignal);
      AbortSignal.timeout = (ms) => timeout(ms / 60);
    }""")
    page.route("**/list/models?modelId=*", lambda _: None)
    page.goto("/#/models/many/m00")
    page.get_by_role("alert").get_by_text("The server has not answered for 60 seconds.").wait_for()
    page.unroute("**/list/models?modelId=*")
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("estimated from its files").wait_for()
    assert page.get_by_role("alert").count() == 0
