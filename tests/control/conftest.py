"""What the tests of the control plane share: its models, and control planes made of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.control.control_plane import ControlPlane, MakeControl, make_models
from tests.control.several_servers import Servers
from tests.engine.fake import FakeEngine


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make_control(tmp_path: Path, models: Path, database: Path) -> MakeControl:
    """Makes control planes on one folder: one after the other they are restarts of one server."""
    return partial(ControlPlane, tmp_path, models, database)


@pytest.fixture
async def servers(make_control: MakeControl, postgresql_url: str) -> AsyncIterator[Servers]:
    machines = FakeEngine()
    await machines.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(machines.close)
        yield Servers(make_control, postgresql_url, machines, stack)
