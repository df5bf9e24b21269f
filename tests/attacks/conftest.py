from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.registry import all_attacks, settings_of, unsafe_models
from tests.hub.server import HubServer
from tests.serving import Server

CANCEL_GRACE_S = 2.0
CARELESS = ("sh", "-c", 'umask 0 && exec "$@"', "sh")
"""A program that becomes the server, and by whose umask everybody may read and write what it makes."""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A hub that has nothing yet."""
    with HubServer().running() as hub:
        yield hub


@pytest.fixture(scope="session")
def attacked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A warm server for modules that bring models of their own: `with_models`. It has what every attack needs, runs the
    code of models that a module calls unsafe, ends replicas that go on without being asked to, leaves clients that read
    nothing, bills the time of requests, and was started by a user whose umask closes nothing."""
    folder = tmp_path_factory.mktemp("attacked-server")
    (folder / "models").mkdir()
    environ = {
        **settings_of(all_attacks()),
        "MODELYARD_CANCEL_GRACE_S": str(CANCEL_GRACE_S),
        "MODELYARD_SLOW_READER_S": "1",
        "MODELYARD_ALLOW_UNSAFE": ",".join(unsafe_models()),
    }
    with Server(folder, folder / "models", "--billing-counts", "inference", program=CARELESS, **environ) as running:
        yield running
