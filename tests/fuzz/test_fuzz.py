"""A short run of the fuzz; `make fuzz` is a long one."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelyard.gateway.operation import PATH_PARAMETERS
from tests.serving import Server

if TYPE_CHECKING:
    from tests.fuzz.run import Run

MODELS = ["tiny/classifier", "tiny/gpt2"]


@pytest.fixture(scope="module")
def fuzzed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Run]]:
    from tests.fuzz.run import (
        fuzz_calls,
    )  # imports what draws calls, which takes longest of all that these files import

    with Server(tmp_path_factory.mktemp("fuzz"), zoo, warm=False) as server:
        yield server, fuzz_calls(server, MODELS, seed=1, examples=2, stall_s=inf)


def test_calls_that_nobody_wrote_are_answered_as_described_and_leave_nothing(fuzzed: tuple[Server, Run]) -> None:
    _, run = fuzzed
    assert "\n".join(run.problems()) == ""


def test_every_operation_that_is_described_is_called(fuzzed: tuple[Server, Run]) -> None:
    server, run = fuzzed
    paths = server.client.get("/openapi.json").json()["paths"]
    described = {f"{method.upper()} {path}" for path in paths for method in paths[path] if method != "parameters"}
    assert run.called.operations.keys() == described
    named = {name for path in paths for name in PATH_PARAMETERS if f"{{{name}}}" in path}
    assert named == PATH_PARAMETERS.keys()
