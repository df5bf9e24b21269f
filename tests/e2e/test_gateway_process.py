"""What the gateway's own process must and must not do: no model code in it, no growth, no lost count."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.loadgen import post_each
from tests.serving import Server, wait_until

ROUNDS = 10
CONNECTIONS = 32
GROWTH_BYTES = 8 * 1024**2
"""What 16,000 of 20,000 requests may add once the first 4,000 have filled every pool: under half a kilobyte each."""


@pytest.fixture(scope="module")
def busy_server(zoo: Path, shared_server: Server) -> Iterator[Server]:
    """A server that takes as many requests as one can send."""
    with shared_server.with_models(zoo) as running:
        yield running


def resident_bytes(server: Server) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


@pytest.mark.parametrize("requests", [2_000, pytest.param(20_000, marks=pytest.mark.verify(part="load"))])
def test_memory_stays_flat_over_many_requests(busy_server: Server, requests: int):
    busy_server.run("tiny/classifier", text="warm")
    before = busy_server.cluster("tiny/classifier")["inferences"]
    sizes = []
    for start in range(0, requests, requests // ROUNDS):
        bodies = [{"text": f"number {n}"} for n in range(start, start + requests // ROUNDS)]
        answers = post_each(busy_server.port, "tiny/classifier", bodies, CONNECTIONS)
        assert {status for status, _ in answers} == {200}
        sizes.append(resident_bytes(busy_server))
    wait_until(lambda: busy_server.load() == (0, 0))
    assert busy_server.cluster("tiny/classifier")["inferences"] == before + requests
    assert sizes[-1] - sizes[1] < GROWTH_BYTES, sizes


def test_the_gateway_process_holds_no_model_library(busy_server: Server):
    busy_server.run("tiny/classifier", text="warm")
    assert busy_server.process is not None
    mapped = Path(f"/proc/{busy_server.process.pid}/maps").read_text()
    assert "libtorch" not in mapped
    (worker, *_) = busy_server.worker_pids()
    assert "libtorch" in Path(f"/proc/{worker}/maps").read_text()


def test_importing_the_server_side_imports_no_model_library():
    program = (
        "import sys, modelyard.gateway.server, modelyard.cli.main, modelyard.control.reconciler; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'tokenizers', 'ray')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_collection_looks_through_nothing_that_was_there_when_the_server_started():
    program = (
        "import gc; from modelyard.gateway.server import keep_pauses_short; before = len(gc.get_objects()); "
        "keep_pauses_short(); print(before, len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 100
