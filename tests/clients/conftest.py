"""A server for the hosted service's clients in their dev mode, where they call this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Server


@pytest.fixture(scope="package")
def dev_server(zoo: Path, task_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the zoo and a model of every task. What one module has loaded stays loaded for the next."""
    flags = ("--models-dir", str(task_zoo), "--job-benchmark-s", "0.3")
    with Server(tmp_path_factory.mktemp("dev-server"), zoo, *flags) as running:
        yield running
