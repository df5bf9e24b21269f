"""A server where the hosted service's clients look for it in their dev mode: localhost, port 8080."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Server

DEV_PORT = 8080


@pytest.fixture(scope="package")
def dev_server(zoo: Path, task_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the zoo and a model of every task on that port, for these tests: none may be there for others. What one
    module has loaded stays loaded for the next."""
    flags = ("--models-dir", str(task_zoo), "--job-benchmark-s", "0.3")
    with Server(tmp_path_factory.mktemp("dev-server"), zoo, *flags, port=DEV_PORT) as running:
        yield running
