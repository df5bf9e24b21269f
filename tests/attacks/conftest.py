from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.server import HubServer


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A hub that has nothing yet."""
    with HubServer().running() as hub:
        yield hub
