"""Pages of others in the browser of somebody who is signed in: they change nothing, and learn nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browser import console
from tests.media import hosts
from tests.media.hosts import Host

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.serving import Server

pytestmark = pytest.mark.verify(part="console")

MODEL = "many/m07"
PUT = {"capacity": {"min": 0, "desired": 0, "max": 1}}
MINE = {"x-modelyard-console": "1", "content-type": "application/json"}
PLAIN_TEXT = {"content-type": "text/plain"}
PAGE = b"<!doctype html><title>Win a prize</title><body></body>"
SEND = """
async ([method, url, headers, body, mode]) => {
  try {
    const answer = await fetch(url, { method, headers, body, mode, credentials: "include" });
    return { read: mode === "no-cors" ? "" : await answer.text(), type: answer.type };
  } catch (error) {
    return { refused: String(error) };
  }
}
"""
"""Sends a request with whatever cookies the browser adds; what the page learns of the answer."""

SUBMIT = """
([url, text]) => {
  const frame = Object.assign(document.createElement("iframe"), { name: "answer" });
  const form = Object.assign(document.createElement("form"),
                             { method: "POST", action: url, enctype: "text/plain", target: "answer" });
  form.append(Object.assign(document.createElement("input"), { name: text.slice(0, -1), value: "" }));
  document.body.append(frame, form);
  form.submit();
}
"""
"""Submits a form, which needs nobody's leave. Its body is the text, with `=` in place of the last letter."""

SITES = ("localhost", "127.0.0.1")
"""By the first name the site is the console's own, by another port: browsers send it the cookie. By the second it is
not."""


@pytest.fixture(params=SITES)
def other(request: pytest.FixtureRequest, browser: Browser, console_server: Server) -> Iterator[Page]:
    """A page of somebody else, beside the console of the operator, who is signed in."""
    with Host(hosts.file(PAGE)) as host, console(browser, console_server) as own:
        page = own.context.new_page()
        page.goto(f"http://{request.param}:{host.port}/")
        yield page


def send(page: Page, url: str, method: str, headers: dict[str, str], body: Any = None, mode: str = "cors") -> Any:
    """What a page learns of what it sends."""
    return page.evaluate(SEND, [method, url, headers, None if body is None else json.dumps(body), mode])


def state(server: Server) -> Any:
    """What others might change."""
    clusters = server.client.get("/models/v2/list/clusters").json()["output"]
    keys = server.client.get("/admin/v1/keys").json()["output"]
    return [each["modelId"] for each in clusters], [(each["name"], each.get("revoked")) for each in keys]


def test_the_consoles_own_page_may_do_what_the_others_are_refused(browser: Browser, console_server: Server) -> None:
    """Without this the others' refusals would prove nothing."""
    with console(browser, console_server) as page:
        url = f"{console_server.url}/models/v2/{MODEL}"
        assert json.loads(send(page, url, "PUT", MINE, PUT)["read"])["error"] is None
        assert MODEL in state(console_server)[0]
        assert json.loads(send(page, url, "DELETE", MINE)["read"])["error"] is None
        assert MODEL not in state(console_server)[0]


def test_a_request_that_needs_no_leave_is_refused(other: Page, console_server: Server) -> None:
    before = state(console_server)
    statuses: list[int] = []
    other.on("response", lambda answer: statuses.append(answer.status))
    for path, body in (
        (f"/models/v2/{MODEL}", {"text": "hello"}),
        ("/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}),
        ("/model/load", {"model": MODEL}),
        ("/admin/v1/keys", {"name": "mine", "account": "mallory"}),
    ):
        assert send(other, console_server.url + path, "POST", PLAIN_TEXT, body, "no-cors")["type"] == "opaque"
    expected = 403 if "localhost" in other.url else 401  # with the cookie, and without
    assert statuses == [expected] * 4
    assert state(console_server) == before


def test_a_request_that_needs_leave_is_not_sent(other: Page, console_server: Server) -> None:
    before = state(console_server)
    url = f"{console_server.url}/models/v2/{MODEL}"
    for method, headers in (("PUT", MINE), ("POST", MINE), ("DELETE", {}), ("PATCH", PLAIN_TEXT)):
        assert "refused" in send(other, url, method, headers, None if method == "DELETE" else PUT)
    assert state(console_server) == before


def test_a_form_is_refused(other: Page, console_server: Server) -> None:
    before = state(console_server)
    with other.expect_response(lambda answer: "/admin/v1/keys" in answer.url) as answered:
        other.evaluate(SUBMIT, [f"{console_server.url}/admin/v1/keys", json.dumps({"name": "mine"}) + " "])
    assert answered.value.status in (401, 403)
    assert state(console_server) == before


def test_nobody_is_signed_in_or_out_by_others(other: Page, console_server: Server) -> None:
    """To be signed in to somebody else's account would show them what one does next."""
    key = console_server.command("keys", "create", "a trap", "--account", "mallory")
    session = f"{console_server.url}/console/session"
    send(other, session, "POST", PLAIN_TEXT, {"key": key}, "no-cors")
    send(other, session, "DELETE", {})
    own = other.context.pages[0]
    told = json.loads(send(own, session, "GET", {})["read"])["output"]
    assert told is not None
    assert told["account"] == "admin"


def test_what_the_console_reads_others_cannot(other: Page, console_server: Server) -> None:
    for path in ("/models/v2/list/clusters", "/admin/v1/keys", "/console/session", "/metrics", "/"):
        assert "refused" in send(other, console_server.url + path, "GET", {})


def test_the_console_is_not_shown_within_other_pages(other: Page, console_server: Server) -> None:
    """Where it could be clicked without being seen."""
    other.evaluate(
        """url => document.body.append(Object.assign(document.createElement("iframe"), { src: url, id: "console" }))""",
        console_server.url,
    )
    frame = other.frame_locator("#console")
    other.wait_for_function("() => frames.length === 1")
    with pytest.raises(Exception, match="Timeout"):
        frame.get_by_role("navigation").wait_for(timeout=3000)
    refused = next(each for each in other.frames if each.parent_frame is not None)
    assert refused.url.startswith("chrome-error:")


def test_no_script_of_the_page_can_read_the_cookie_and_no_storage_holds_the_key(page: Page) -> None:
    assert page.evaluate("document.cookie") == ""
    kept = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert "test-key" not in kept
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert "test-key" not in cookie["value"]
