"""The engines under test, each started once, all on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from modelyard.engine.base import Engine
from modelyard.engine.local import LocalEngine
from modelyard.records.replicas import ReplicaSpec
from modelyard.units import GIB
from tests.builders import build
from tests.engine.aio import run_async_test
from tests.engine.fake import FakeEngine
from tests.engine.harness import SECRET, Harness, new_id
from tests.engine.workers import ECHO_NURSERY

Specs = Callable[[Path], ReplicaSpec]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return run_async_test(pyfuncitem)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """The loop that the engines live on; tests that use one of them run there."""
    with asyncio.Runner() as runner:
        yield runner


@contextmanager
def started(runner: asyncio.Runner, make: Callable[[], Engine]) -> Iterator[Engine]:
    async def start() -> Engine:
        engine = make()
        await engine.start()
        return engine

    engine = runner.run(start())
    yield engine
    runner.run(engine.close())


@pytest.fixture(scope="session")
def fake_engine(runner: asyncio.Runner) -> Iterator[Engine]:
    with started(runner, FakeEngine) as engine:
        yield engine


@pytest.fixture(scope="session")
def echo_engine(runner: asyncio.Runner) -> Iterator[Engine]:
    """Processes that echo."""
    with started(runner, lambda: LocalEngine(GIB, nursery=ECHO_NURSERY)) as engine:
        yield engine


@pytest.fixture(scope="session")
def real_engine(runner: asyncio.Runner) -> Iterator[Engine]:
    """Processes as in production: a nursery with the model libraries in it, workers that load models."""
    with started(runner, lambda: LocalEngine(GIB)) as engine:
        yield engine


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


@pytest.fixture(scope="session")
def without_weights(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose weights are missing."""
    folder = tmp_path_factory.mktemp("models") / "empty"
    folder.mkdir()
    for file in tiny_gpt2.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def model_spec(folder: Path, log_path: Path | None = None) -> ReplicaSpec:
    """A replica of a text-generation model."""
    log = str(log_path) if log_path else None
    return ReplicaSpec(new_id(), f"tests/{folder.name}", str(folder), "text-generation", secret=SECRET, log_path=log)


@pytest.fixture
def fake(fake_engine: Engine, runner: asyncio.Runner) -> Iterator[Harness]:
    with cleared(runner, fake_engine) as harness:
        yield harness


@pytest.fixture
def echo(echo_engine: Engine, runner: asyncio.Runner) -> Iterator[Harness]:
    with cleared(runner, echo_engine) as harness:
        yield harness


@pytest.fixture
def real(
    real_engine: Engine, runner: asyncio.Runner, tiny_gpt2: Path, without_weights: Path, tmp_path: Path
) -> Iterator[Harness]:
    with cleared(runner, real_engine) as harness:
        harness.good = lambda: model_spec(tiny_gpt2, tmp_path / "worker.log")
        harness.bad = lambda: model_spec(without_weights, tmp_path / "worker.log")
        harness.bad_words = "empty cannot be loaded"
        harness.slow = ({"text": "Once upon a time"}, {"max_new_tokens": 100, "min_new_tokens": 100})
        yield harness


@contextmanager
def cleared(runner: asyncio.Runner, engine: Engine) -> Iterator[Harness]:
    async def make() -> Harness:
        return Harness(engine)

    harness = runner.run(make())
    if isinstance(engine, FakeEngine):
        harness.bad = lambda: refused(engine, harness)
    yield harness
    runner.run(harness.clear())


def refused(engine: FakeEngine, harness: Harness) -> ReplicaSpec:
    engine.refuse_next(harness.bad_words)
    return harness.good()


@pytest.fixture(params=["fake", "echo", "real"])
def any_engine(request: pytest.FixtureRequest) -> Harness:
    """Every implementation in turn."""
    harness: Harness = request.getfixturevalue(request.param)
    return harness


@pytest.fixture(params=[FakeEngine, lambda: LocalEngine(GIB, nursery=ECHO_NURSERY)], ids=["fake", "echo"])
def own_engine(request: pytest.FixtureRequest) -> Callable[[], object]:
    """Makes an engine of the test's own, for tests that end it. The test starts and closes it on its own loop."""

    @asynccontextmanager
    async def open_engine() -> AsyncIterator[Harness]:
        engine = request.param()
        await engine.start()
        try:
            yield Harness(engine)
        finally:
            await engine.close()

    return open_engine
