"""A tour of the console with real models, looked at in both themes and widths."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelyard.records.history import ClusterPoint, NodePoint
from tests.builders.fixtures import FAMILY_OF_TASK
from tests.console.browser import console, listen, look, sign_in
from tests.console.history import account_id_of, add_history
from tests.console.steps import ANSWER_MS, make_key, open_playground, revoke, run, scale, set_to
from tests.serving import Server, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MODEL, CHAT, DEPTH = "tiny/classifier", "tiny/chat", "tasks/depth-estimation"
ONE_MODEL_GB = "0.12"
"""Room for one of them: each has to leave for the next."""


@pytest.fixture(scope="module")
def toured(
    zoo: Path, model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder, models = tmp_path_factory.mktemp("toured"), tmp_path_factory.mktemp("toured-models")
    shutil.copytree(model_folder(FAMILY_OF_TASK["depth-estimation"]), models / DEPTH)
    with Server(folder, zoo, "--models-dir", str(models), "--memory-gb", ONE_MODEL_GB) as server:
        add_an_hour(server)
        yield server


def add_an_hour(server: Server) -> None:
    """Gives the charts something to draw: an hour in which more and less was asked of the model."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    account_id = account_id_of(server, "admin")
    (node,) = server.client.get("/admin/v1/nodes").json()["output"]
    clusters, nodes = [], []
    for minute in range(1, 60):
        at, wave = now - timedelta(minutes=minute), 1 + math.sin(minute / 8)
        load, reserved = round(120 * wave) + minute % 7, round(wave * 20_000_000) + 40_000_000
        latency = (0,) * 9 + (load // 2, load // 3, load // 8, load // 24)
        clusters.append(
            ClusterPoint(
                account_id, MODEL, at, requests=load, failed=load // 90, waited_us=load * 2000 * (minute % 5),
                latency=latency, in_flight=load // 30, queued=load // 100, replicas=1, memory_bytes=reserved,
            )
        )  # fmt: skip
        nodes.append(NodePoint(node["name"], "", at, 120_000_000, reserved, reserved // 2, minute % 20 == 0))
    add_history(server, clusters, nodes)


@pytest.mark.verify(part="console")
@pytest.mark.timeout(900)
def test_the_operators_tour(browser: Browser, toured: Server) -> None:
    with console(browser, toured, key=None, refused=(404,)) as page:  # what a run took is known a moment after it
        page.set_default_timeout(ANSWER_MS)
        look(page, "sign-in")
        sign_in(page, "test-key")
        find_and_measure(page)
        watch_it_boot(page)
        run_others_in_its_place(page)
        read_the_bill(page)
        lend_a_key(page, browser, toured)
        set_limits(page)
        set_an_alias(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def find_and_measure(page: Page) -> None:
    page.get_by_label("Search").fill("classifier")
    page.get_by_role("link", name=MODEL).wait_for()
    look(page, "models")
    page.get_by_role("link", name=MODEL).click()
    page.get_by_role("button", name="Request it").click()
    page.get_by_text("measured on this server").wait_for()
    page.get_by_text("done", exact=True).wait_for()
    look(page, "model")
    go(page, "Jobs")
    page.get_by_role("cell", name=MODEL).wait_for()
    look(page, "jobs")


def watch_it_boot(page: Page) -> None:
    """A request in one tab, what comes of it in another."""
    other = page.context.new_page()
    complaints = listen(other, (404,))
    other.goto(f"/#/clusters/{MODEL}")
    other.get_by_role("button", name="Start one").wait_for()
    open_playground(page, MODEL)
    page.get_by_role("button", name="Run").click()
    other.get_by_text("running", exact=True).wait_for()
    other.get_by_text("is ready after").wait_for()
    other.get_by_role("table", name="Instances").wait_for()
    run(page, MODEL)
    scale(other, 2)
    other.get_by_role("button", name="Show", exact=True).click()
    other.get_by_text(f"loaded {MODEL}").wait_for()
    look(other, "cluster")
    go(other, "Clusters")
    other.get_by_role("row", name=MODEL).get_by_text("1 of 1").wait_for()
    look(other, "clusters")
    other.get_by_role("link", name="All accounts").click()
    other.get_by_role("row", name=MODEL).get_by_text("admin").wait_for()
    look(other, "clusters-of-all")
    assert complaints == []
    other.close()


def run_others_in_its_place(page: Page) -> None:
    open_playground(page, CHAT)
    set_to(page, "max_new_tokens", "12")
    run(page, CHAT)
    look(page, "playground-chat")
    go(page, "Machines")
    page.get_by_text(f"to make room for {CHAT}").wait_for()
    page.get_by_role("cell", name=CHAT).first.wait_for()
    look(page, "machines")
    open_playground(page, DEPTH)
    run(page, DEPTH).locator(".pair img").first.wait_for()
    look(page, "playground-image")


def read_the_bill(page: Page) -> None:
    go(page, "Usage")
    page.get_by_label("By").select_option("instance")
    for model in (MODEL, CHAT, DEPTH):
        page.get_by_role("link", name=model).first.wait_for()
    look(page, "usage")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    text = Path(saved.value.path()).read_text("utf-8")
    assert text.startswith("instance,model,from,to,open,gb,seconds")
    assert MODEL in text
    page.get_by_label("By").select_option("key")
    page.get_by_role("cell", name="admin").first.wait_for()


def lend_a_key(page: Page, browser: Browser, toured: Server) -> None:
    """Somebody signs in with it, and is signed out as it is revoked."""
    go(page, "Keys")
    secret = make_key(page, "made in the console", "acme")
    look(page, "keys")
    with console(browser, toured, key=secret, refused=(401,)) as holder:
        go(holder, "Clusters")
        holder.get_by_text("You have no cluster yet").wait_for()
        revoke(page, "made in the console")
        # What is known of a session is looked up again after some seconds.
        wait_until(lambda: holder.request.get("/v1/models").status == 401, every_s=1)
        go(holder, "Usage")
        holder.get_by_label("API key").wait_for()


def set_limits(page: Page) -> None:
    go(page, "Accounts")
    page.get_by_role("button", name="Limits of acme").click()
    page.get_by_label("Clusters").fill("3")
    page.get_by_label("Monthly limit").fill("99.50")
    look(page, "limits")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="$99.50").wait_for()
    look(page, "accounts")


def set_an_alias(page: Page) -> None:
    go(page, "Aliases")
    page.get_by_role("button", name="Set an alias").click()
    page.get_by_label("Account").fill("acme")
    page.get_by_label("Alias", exact=True).fill("gpt-4o-mini")
    page.get_by_label("Model", exact=True).fill(MODEL)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="gpt-4o-mini", exact=True).wait_for()
    look(page, "aliases")
