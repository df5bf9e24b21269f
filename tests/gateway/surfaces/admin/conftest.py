"""A server of its own: what these tests change would be in others' way. It boots nothing, and its disk is its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.catalog.models import model, write
from tests.serving import Server

MODEL = "many/m1"


@pytest.fixture(scope="package")
def admin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("admin")
    write(folder / "models" / MODEL, model())
    server = Server(
        folder, folder / "models", boots=False, HF_HOME=str(folder / "hub"), MODELYARD_DEVICE_MEMORY="cuda:0=2"
    )
    server.start(warm=False, boots=False)
    try:
        yield server
    finally:
        server.client.close()
        server.stop()


@pytest.fixture
def admin(admin_server: Server) -> httpx.Client:
    """The operator."""
    return admin_server.client
