"""A server where the hosted service's clients look for it in their dev mode: localhost, port 8080."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Server

DEV_PORT = 8080


@pytest.fixture(scope="session")
def dev_port() -> int:
    """The port those clients use."""
    return DEV_PORT


@pytest.fixture(scope="module")
def dev_server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the zoo on that port, for one module: there can be only one such server at a time."""
    with Server(tmp_path_factory.mktemp("dev-server"), zoo, "--job-benchmark-s", "2", port=DEV_PORT) as running:
        yield running
