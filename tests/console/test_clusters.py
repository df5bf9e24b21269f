"""Clusters, machines and jobs in a browser, as they change. The server boots nothing: what boots is in the tour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from modelyard.records.history import ClusterPoint
from tests.console.browser import NARROW, check_widths, console, violations
from tests.console.history import account_id_of, add_history
from tests.serving import Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

MODEL, OTHER = "many/m07", "many/m08"


@pytest.fixture
def watcher(console_server: Server) -> Iterator[tuple[str, httpx.Client]]:
    """The key of an account of its own, and a client with it."""
    secret = console_server.command("keys", "create", "watcher", "--account", "watcher")
    with console_server.client_of(secret) as client:
        yield secret, client
        for cluster in client.get("/models/v2/list/clusters").json()["output"]:
            client.delete(f"/models/v2/{cluster['modelId']}")


def is_narrow(page: Page) -> bool:
    """Whether nothing sticks out at the right."""
    return int(page.evaluate("document.documentElement.scrollWidth")) <= NARROW["width"]


def test_a_cluster_is_watched_scaled_paused_and_deleted(
    browser: Browser, console_server: Server, watcher: tuple[str, httpx.Client]
) -> None:
    secret, client = watcher
    with console(browser, console_server, key=secret, refused=(404, 422)) as page:
        page.get_by_role("navigation").get_by_role("link", name="Clusters").click()
        page.get_by_text("You have no cluster yet").wait_for()
        client.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0}})
        page.get_by_role("link", name=MODEL).click()
        page.get_by_text("cluster created: min 0, desired 0, max 1").wait_for()
        page.get_by_role("heading", name="Latency").wait_for()
        assert violations(page) == []

        page.get_by_role("button", name="Scale").click()
        page.get_by_label("Minimum").fill("2")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("dialog").get_by_role("alert").wait_for()
        page.get_by_label("Minimum").fill("0")
        page.get_by_label("Maximum").fill("3")
        assert violations(page) == []
        page.get_by_role("button", name="Save").click()
        page.get_by_text("cluster updated: min 0, desired 0, max 3").wait_for()
        page.get_by_text("0, 0, 3", exact=True).wait_for()

        client.patch(f"/models/v2/{MODEL}", json={"status": "off"})
        page.get_by_text("max 3, timeout 1800 s, off").wait_for()
        page.get_by_role("button", name="Start").click()
        page.get_by_text("The cluster is on, and starts").wait_for()

        page.get_by_role("button", name="Show", exact=True).click()
        page.get_by_text("No instance has run yet").wait_for()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        page.get_by_text("You have no cluster yet").wait_for()


def test_a_narrow_page_of_a_cluster_holds_all_of_it(
    browser: Browser, console_server: Server, watcher: tuple[str, httpx.Client]
) -> None:
    secret, client = watcher
    client.put(f"/models/v2/{OTHER}", json={"capacity": {"desired": 0}})
    with console(browser, console_server, key=secret, viewport=NARROW, color_scheme="dark") as page:
        page.goto(f"/#/clusters/{OTHER}")
        page.get_by_text("cluster created").wait_for()
        page.get_by_role("heading", name="Latency").wait_for()
        assert violations(page) == []
        assert is_narrow(page)


KEEP_TEXTS = """window.texts = [];
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (...given) { texts.push(given[0]); fill.apply(this, given); };"""
"""Has a page keep what is written in its charts."""


def test_a_chart_ends_with_the_last_minute_that_is_known_and_counts_in_whole_numbers(
    browser: Browser, console_server: Server, watcher: tuple[str, httpx.Client]
) -> None:
    secret, client = watcher
    client.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0}})
    account_id, end = account_id_of(console_server, "watcher"), datetime.now(UTC).replace(second=0, microsecond=0)
    minutes = [end - timedelta(minutes=back) for back in range(2, 10)]
    points = [ClusterPoint(account_id, MODEL, minute, requests=60, replicas=1) for minute in minutes]
    add_history(console_server, points)
    late_s = 5

    def tell_end(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["output"]["end"] = (end + timedelta(seconds=late_s)).isoformat()
        route.fulfill(response=answer, json=found)

    with console(browser, console_server, key=secret) as page:
        page.add_init_script(KEEP_TEXTS)
        page.route("**/models/v2/history*", tell_end)
        page.goto(f"/#/clusters/{MODEL}")
        page.get_by_text("All: last 60, at most 60").wait_for()
        late_s = 20
        page.reload()
        page.get_by_text("All: last 0, at most 60").wait_for()
        wait_until(lambda: "1" in page.evaluate("texts"))
        assert "0.5" not in page.evaluate("texts")


def test_the_chart_of_a_month_is_read_again_when_an_hour_is_over_and_a_minute_after_a_failure(
    browser: Browser, console_server: Server, watcher: tuple[str, httpx.Client]
) -> None:
    secret, client = watcher
    client.put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0}})
    begin, ends = "2026-05-01T08:00:00Z", ["2026-05-01T10:50:15Z", "", "2026-05-01T11:02:45Z", "2026-05-01T12:00:16Z"]
    asked: list[str] = []

    def tell_end(route: Route) -> None:
        if "period=month" not in route.request.url:
            return route.continue_()
        asked.append(ends[len(asked)])
        if not asked[-1]:
            return route.abort()
        load = {"requests": 60 * len(asked), "failed": 0, "inFlight": 0, "queued": 0, "instances": 1, "memoryBytes": 1}
        point = {"at": asked[-1][:11] + "09:00:00Z", "latency": None, "waitSeconds": None, **load}
        told = {"modelId": MODEL, "begin": begin, "end": asked[-1], "stepSeconds": 3600, "points": [point]}
        return route.fulfill(json={"output": told})

    with console(browser, console_server, key=secret, refused=(0,)) as page:

        def pass_minutes(minutes: int) -> None:
            page.clock.run_for(minutes * 60_000)
            page.evaluate("fetch('/').then(() => true)")  # what was asked before has come here

        page.route("**/models/v2/history*", tell_end)
        page.clock.install()
        page.goto(f"/#/clusters/{MODEL}")
        page.get_by_text("Month", exact=True).click()
        page.get_by_text("at most 1").first.wait_for()
        pass_minutes(9)
        assert asked == ends[:1]
        # Not for longer than the page waits for an answer: minutes pass here before anything is answered.
        with page.expect_event("requestfailed", lambda request: "period=month" in request.url):
            pass_minutes(1)
        page.get_by_role("alert").wait_for()
        assert asked == ends[:2]
        pass_minutes(1)
        page.get_by_text("at most 3").wait_for()
        pass_minutes(57)
        assert asked == ends[:3]
        pass_minutes(1)
        page.get_by_text("at most 4").wait_for()
        assert asked == ends


def test_the_operator_looks_at_the_clusters_of_all_accounts(
    browser: Browser, console_server: Server, watcher: tuple[str, httpx.Client]
) -> None:
    watcher[1].put(f"/models/v2/{MODEL}", json={"capacity": {"desired": 0, "max": 7}})
    with console(browser, console_server, refused=(404,)) as page:
        page.get_by_role("navigation").get_by_role("link", name="Clusters").click()
        page.get_by_role("link", name="All accounts").click()
        page.get_by_role("row", name="watcher").get_by_role("link", name=MODEL).wait_for()
        assert violations(page) == []
        other = page.get_by_role("row", name="watcher").get_by_role("link", name=OTHER)
        watcher[1].put(f"/models/v2/{OTHER}", json={"capacity": {"desired": 0}})
        other.wait_for()
        watcher[1].delete(f"/models/v2/{OTHER}")
        other.wait_for(state="detached")
        page.get_by_label("Account").fill("nobody")
        page.get_by_label("Account").press("Enter")
        page.get_by_text("No account is called nobody").wait_for()
        page.get_by_label("Account").fill("watcher")
        page.get_by_label("Account").press("Enter")
        page.get_by_role("row", name="watcher").get_by_role("link", name=MODEL).click()
        page.get_by_text("of watcher").wait_for()
        page.get_by_text("0, 0, 7", exact=True).wait_for()
        page.get_by_role("heading", name="Latency").wait_for()
        watcher[1].patch(f"/models/v2/{MODEL}", json={"capacity": {"max": 9}})
        page.get_by_text("cluster updated: min 0, desired 0, max 9").wait_for()
        page.get_by_text("0, 0, 9", exact=True).wait_for()
        assert violations(page) == []
        check_widths(page, "another account's cluster")
        page.goto(f"/#/clusters/{MODEL}?account=nobody")
        page.get_by_text("No account is called nobody").nth(1).wait_for()  # the charts say so, too


def test_a_machine_is_drained_and_used_again(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Machines").click()
    page.get_by_text("No instance had to make room").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Drain").first.click()
    page.get_by_text("takes nothing new").wait_for()
    page.get_by_role("button", name="Use").first.click()
    page.get_by_text("in use").wait_for()
    check_widths(page, "machines")


def test_a_job_is_watched_and_cancelled(page: Page, console_server: Server) -> None:
    console_server.client.post(f"/models/v2/request/{MODEL}")
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    page.get_by_role("button", name=f"Cancel the job of {MODEL}").click()
    page.get_by_text(f"The job of {MODEL} was cancelled").wait_for()
    page.get_by_text("failed", exact=True).wait_for()
    assert violations(page) == []


def test_jobs_are_read_now_and_again_where_no_stream_is_opened(browser: Browser, console_server: Server) -> None:
    console_server.client.post(f"/models/v2/request/{OTHER}")
    with console(browser, console_server, refused=(429,)) as page:
        page.route("**/jobs/live*", lambda route: route.fulfill(status=429))
        page.goto("/#/jobs")
        page.get_by_role("button", name=f"Cancel the job of {OTHER}").click()
        page.get_by_role("row", name=OTHER).get_by_text("failed", exact=True).wait_for()


def test_a_page_says_that_the_server_is_away_until_it_is_back(browser: Browser, console_server: Server) -> None:
    with console(browser, console_server, refused=(0,)) as page:
        page.route("**/models/v2/live*", lambda route: route.abort())
        page.goto("/#/clusters")
        page.get_by_role("alert").get_by_text("The server was not reached").wait_for()
        page.unroute("**/models/v2/live*")
        page.get_by_role("alert").wait_for(state="detached")
        page.get_by_text("You have no cluster yet").wait_for()


def test_a_hidden_page_asks_for_nothing(browser: Browser, console_server: Server) -> None:
    """What a browser does with a tab that is not shown, done to the page."""
    with console(browser, console_server) as page:
        page.goto("/#/machines")
        page.get_by_text("No instance had to make room").wait_for()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
        change = "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(f"{hide % 'true'}; {change}")
        console_server.client.patch(f"/admin/v1/nodes/{node_of(console_server)}", json={"accepting": True})
        assert asked == []
        with page.expect_request("**/admin/v1/live*"):
            page.evaluate(f"{hide % 'false'}; {change}")


def node_of(server: Server) -> str:
    """The name of its one machine."""
    return str(server.client.get("/admin/v1/nodes").json()["output"][0]["name"])
