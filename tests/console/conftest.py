"""A server with a console, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.catalog.models import diffusers, model, write
from tests.console.browser import chromium, console
from tests.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


HOSTILE = """<img src=x onerror="window.ran=1">'"><script>window.ran=1</script>"""
"""What would run in a page that took it for more than text."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all of these tests, none of which has an event loop. Each has a context of its own, which knows nothing
    of others."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def console_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that boots nothing, with some models."""
    folder = tmp_path_factory.mktemp("console-models")
    for number in range(40):
        write(folder / "many" / f"m{number:02}", model())
    write(folder / "odd" / "painter", diffusers())
    write(folder / "odd" / "viewer", model("ViTForImageClassification", "vit"))
    write(folder / "odd" / "broken", model(model__safetensors=b"cut off"))
    write(folder / "odd" / "licensed", model(readme="---\nlicense: mit\n---\n"))
    hostile = model("Hostile" + HOSTILE, readme=f"---\npipeline_tag: text-generation\nlicense: {HOSTILE}\n---\n")
    write(folder / "odd" / "hostile", hostile)
    with Server(tmp_path_factory.mktemp("console-server"), folder, boots=False) as server:
        yield server


@pytest.fixture
def page(browser: Browser, console_server: Server) -> Iterator[Page]:
    """The console, its operator signed in."""
    with console(browser, console_server) as page:
        yield page
