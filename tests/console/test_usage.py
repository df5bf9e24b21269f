"""The page of what was used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_what_keys_have_used_is_summed_up_only_where_it_is_looked_at(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_request("**/models/v2/usage?groupBy=day*"):
        page.goto("/#/usage")
    for part, rows in (("model", "model"), ("instance", "day")):
        with page.expect_request(f"**/models/v2/usage?groupBy={rows}*"):
            page.get_by_label("By").select_option(part)
    assert not [url for url in asked if url.endswith("/usage/keys")]
    with page.expect_request("**/models/v2/usage/keys"):
        page.get_by_label("By").select_option("key")
