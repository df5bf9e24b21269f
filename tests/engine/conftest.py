"""The engines under test, each started once, all on one event loop that lives as long as they."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from modelyard.config import Settings
from modelyard.engine.base import Engine
from modelyard.engine.local import LocalEngine
from modelyard.engine.ray.finder import RayFinder
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.records.replicas import ReplicaSpec
from modelyard.tls import load_tls
from modelyard.units import GIB
from tests.builders import build
from tests.builders.adapters import make_adapter
from tests.certificates import make_authority, make_certificate
from tests.engine.agents import Agents, Found
from tests.engine.exporter import EXPORTER
from tests.engine.fake import FakeEngine
from tests.engine.harness import SECRET, Harness, new_id, new_token
from tests.engine.outliving import FakeServerEngine
from tests.engine.ray.cluster import RayCluster, open_cluster
from tests.engine.workers import ECHO_STANDBY

E = TypeVar("E", bound=Engine)

VERIFIED = pytest.mark.verify(part="ray")
"""Ray's own processes cost as much CPU time as all other engines together; `tests/engine/ray` has a short form."""
ENCRYPTED = pytest.param("encrypted", marks=VERIFIED)
ON_RAY = pytest.param("ray", marks=VERIFIED)


@asynccontextmanager
async def started(engine: E) -> AsyncIterator[E]:
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture(scope="package")
async def fake_engine() -> AsyncIterator[FakeEngine]:
    async with started(FakeEngine()) as engine:
        yield engine


@pytest.fixture(scope="package")
async def echo_engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    """Processes that echo. Not confined: some start processes of their own."""
    log_dir = tmp_path_factory.mktemp("logs")
    async with started(
        LocalEngine(GIB, log_dir=log_dir, standby=ECHO_STANDBY, exporter=EXPORTER, sandbox="off")
    ) as engine:
        yield engine


@pytest.fixture(scope="package")
async def real_engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    """Processes as in production: a nursery with the model libraries in it, workers that load models."""
    async with started(LocalEngine(GIB, log_dir=tmp_path_factory.mktemp("logs"))) as engine:
        yield engine


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


@pytest.fixture(scope="session")
def long_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that can write for as long as a test needs it to."""
    return build("gpt2_long", tmp_path_factory.mktemp("models") / "gpt2-long")


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


def real_adapter(base: Path, base_id: str, folder: Path, number: int) -> ReplicaSpec:
    """An adapter of that model, beside a replica of it."""
    from peft import LoraConfig

    make_adapter(base, folder, LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM"), seed=number)
    return ReplicaSpec(new_id(), f"people/{folder.name}", str(folder), "text-generation", beside=base_id)


@pytest.fixture
async def fake(fake_engine: FakeEngine) -> AsyncIterator[Harness]:
    async with cleared(fake_engine) as harness:
        harness.bad = lambda: refused(fake_engine, harness)
        yield harness


@pytest.fixture
async def outliving(fake_engine: FakeEngine) -> AsyncIterator[Harness]:
    """One of several servers on the same machines, the one that leads."""
    async with started(FakeServerEngine(fake_engine)) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            harness.bad = lambda: refused(fake_engine, harness)
            yield harness


@asynccontextmanager
async def two_nodes(agents: Agents) -> AsyncIterator[Agents]:
    """The same agents, while two of them run."""
    try:
        await agents.start("first", "second")
        yield agents
    finally:
        await agents.close()


@pytest.fixture(scope="package")
async def agents(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agents]:
    """Two nodes, each an agent's process on this machine."""
    async with two_nodes(Agents(tmp_path_factory.mktemp("agents"))) as agents:
        yield agents


@pytest.fixture
async def remote(agents: Agents) -> AsyncIterator[Harness]:
    """The server that leads of those that speak to agents."""
    async with started(RemoteEngine(agents.finder())) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            yield harness


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The settings of TLS between machines."""
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificate(folder, make_authority(folder))


@pytest.fixture(scope="package")
async def guarded_agents(
    certificate: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Agents]:
    """Two nodes that have a certificate."""
    async with two_nodes(Agents(tmp_path_factory.mktemp("guarded"), settings=certificate)) as agents:
        yield agents


@pytest.fixture
async def encrypted(guarded_agents: Agents, certificate: Mapping[str, str]) -> AsyncIterator[Harness]:
    """The server that leads of those that speak to such nodes."""
    tls = load_tls(Settings(**certificate))
    async with started(RemoteEngine(guarded_agents.finder(), tls=tls)) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            yield harness


@pytest.fixture(scope="package")
async def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RayCluster]:
    async with open_cluster(tmp_path_factory.mktemp("ray"), "head", "second", "third") as cluster:
        yield cluster


@pytest.fixture(scope="package")
async def found_by_ray(ray_cluster: RayCluster) -> AsyncIterator[Found]:
    """What one program that speaks to Ray has found, for the servers of all tests: each such program costs seconds."""
    found, finder = Found(), RayFinder(ray_cluster.address, ray_cluster.environ)
    await finder.start(found.take)
    try:
        yield found
    finally:
        await finder.close()


@pytest.fixture
async def ray(found_by_ray: Found) -> AsyncIterator[Harness]:
    """The server that leads of those that speak to a Ray cluster."""
    async with started(RemoteEngine(found_by_ray.finder())) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            yield harness


@pytest.fixture
async def echo(echo_engine: LocalEngine) -> AsyncIterator[Harness]:
    async with cleared(echo_engine) as harness:
        yield harness


@pytest.fixture
async def real(
    real_engine: LocalEngine, long_gpt2: Path, without_weights: Path, tmp_path: Path
) -> AsyncIterator[Harness]:
    async with cleared(real_engine) as harness:
        harness.good = lambda: model_spec(long_gpt2, tmp_path / "worker.log")
        harness.bad = lambda: model_spec(without_weights, tmp_path / "worker.log")
        harness.bad_words = "empty cannot be loaded"
        harness.adapter = partial(real_adapter, long_gpt2)
        harness.slow = ({"text": "Once upon a time"}, {"max_new_tokens": 8000, "min_new_tokens": 8000})
        yield harness


@asynccontextmanager
async def cleared(engine: Engine) -> AsyncIterator[Harness]:
    harness = Harness(engine)
    yield harness
    await harness.clear()


def refused(engine: FakeEngine, harness: Harness) -> ReplicaSpec:
    engine.refuse_next(harness.bad_words)
    return harness.good()


@pytest.fixture(params=["fake", "outliving", "echo", "real", "remote", ENCRYPTED, ON_RAY])
def any_engine(request: pytest.FixtureRequest) -> Harness:
    """Every implementation in turn."""
    harness: Harness = request.getfixturevalue(request.param)
    return harness


@pytest.fixture(params=[FakeEngine, lambda: LocalEngine(GIB, standby=ECHO_STANDBY)], ids=["fake", "echo"])
def own_engine(request: pytest.FixtureRequest) -> Callable[[], object]:
    """Makes an engine of the test's own, for tests that end it."""

    @asynccontextmanager
    async def open_engine() -> AsyncIterator[Harness]:
        async with started(request.param()) as engine:
            yield Harness(engine)

    return open_engine


@asynccontextmanager
async def two_servers(make: Callable[[], Engine]) -> AsyncIterator[tuple[Harness, Harness]]:
    """Two servers on the same machines, whose replicas outlive them. Neither leads."""
    async with started(make()) as first, started(make()) as second:
        yield Harness(first), Harness(second)
        await second.lead(new_token())
        async with cleared(second):
            pass


@pytest.fixture
async def fake_servers(fake_engine: FakeEngine) -> AsyncIterator[tuple[Harness, Harness]]:
    async with two_servers(lambda: FakeServerEngine(fake_engine)) as harnesses:
        yield harnesses


@pytest.fixture
async def remote_servers(agents: Agents) -> AsyncIterator[tuple[Harness, Harness]]:
    async with two_servers(lambda: RemoteEngine(agents.finder())) as harnesses:
        yield harnesses


@pytest.fixture
async def ray_servers(found_by_ray: Found) -> AsyncIterator[tuple[Harness, Harness]]:
    async with two_servers(lambda: RemoteEngine(found_by_ray.finder())) as harnesses:
        yield harnesses


@pytest.fixture(params=["fake_servers", "remote_servers", pytest.param("ray_servers", marks=VERIFIED)])
def servers(request: pytest.FixtureRequest) -> tuple[Harness, Harness]:
    """Every implementation in turn."""
    harnesses: tuple[Harness, Harness] = request.getfixturevalue(request.param)
    return harnesses
