"""A tour of the console with a real model, looked at in both themes and widths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.browser import console, look, sign_in
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MODEL = "tiny/classifier"
JOB_MS = 120_000


@pytest.fixture(scope="module")
def toured(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("toured"), zoo) as server:
        yield server


@pytest.mark.verify(part="console")
@pytest.mark.timeout(900)
def test_the_operators_tour(browser: Browser, toured: Server) -> None:
    with console(browser, toured, key=None) as page:
        page.set_default_timeout(JOB_MS)
        look(page, "sign-in")
        sign_in(page, "test-key")

        page.get_by_label("Search").fill("classifier")
        page.get_by_role("link", name=MODEL).wait_for()
        look(page, "models")
        page.get_by_role("link", name=MODEL).click()
        page.get_by_role("button", name="Request it").click()
        page.get_by_text("measured on this server").wait_for()
        page.get_by_text("done", exact=True).wait_for()
        look(page, "model")

        toured.run(MODEL, text="the cat sat on the mat")
        page.goto("/#/usage")
        page.get_by_label("By").select_option("instance")
        page.get_by_role("link", name=MODEL).first.wait_for()
        look(page, "usage")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save as CSV").click()
        text = Path(saved.value.path()).read_text("utf-8")
        assert text.startswith("instance,model,from,to,open,gb,seconds")
        assert MODEL in text
        page.get_by_label("By").select_option("key")
        page.get_by_role("cell", name="admin").first.wait_for()

        page.get_by_role("navigation").get_by_role("link", name="Keys").click()
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name").fill("made in the console")
        page.get_by_label("Account").fill("acme")
        page.get_by_role("button", name="Make the key").click()
        secret = page.get_by_role("dialog", name="The key is made").get_by_text(re.compile(r"^my-")).inner_text()
        with toured.client_of(secret) as made:
            assert made.get("/models/v2/list/clusters").status_code == 200
        page.get_by_role("dialog", name="The key is made").get_by_label("Close").click()
        look(page, "keys")
        page.get_by_role("button", name="Revoke made in the console").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        page.get_by_text("made in the console is revoked").wait_for()

        page.get_by_role("navigation").get_by_role("link", name="Accounts").click()
        page.get_by_role("button", name="Limits of acme").click()
        page.get_by_label("Clusters").fill("3")
        page.get_by_label("Monthly limit").fill("99.50")
        look(page, "limits")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("cell", name="$99.50").wait_for()
        look(page, "accounts")

        page.get_by_role("navigation").get_by_role("link", name="Aliases").click()
        page.get_by_role("button", name="Set an alias").click()
        page.get_by_label("Account").fill("acme")
        page.get_by_label("Alias", exact=True).fill("gpt-4o-mini")
        page.get_by_label("Model", exact=True).fill(MODEL)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("cell", name="gpt-4o-mini", exact=True).wait_for()
        look(page, "aliases")

        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()
