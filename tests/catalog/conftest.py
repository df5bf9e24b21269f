"""What the catalog's tests share: a hub on this machine, folders of tiny models, a clock that moves when told."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_settings import HubSettings
from modelyard.catalog.transfer import Patience
from tests.clock import HandClock
from tests.hub.server import HubServer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty models directory."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        yield running


@pytest.fixture
def server(hub_server: HubServer) -> Iterator[HubServer]:
    """A hub with no repositories, no faults and no past."""
    hub_server.reset()
    yield hub_server
    hub_server.release_all()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


OpenHub = Callable[..., Hub]


@pytest.fixture
async def open_hub(server: HubServer, tmp_path: Path, clock: HandClock) -> AsyncIterator[OpenHub]:
    """Hubs that look at the server, with one cache; closed after the test."""
    opened: list[Hub] = []

    def make(token: str | None = None, offline: bool = False, endpoint: str | None = None, attempts: int = 3) -> Hub:
        settings = HubSettings(endpoint or server.url, tmp_path / "cache", token, offline)
        patience = Patience(attempts, wait_s=0.01)
        opened.append(Hub(settings, clock=clock, patience=patience, progress_interval_s=0.01))
        return opened[-1]

    yield make
    for hub in opened:
        await hub.aclose()


@pytest.fixture
def hub(open_hub: OpenHub) -> Hub:
    return open_hub()
