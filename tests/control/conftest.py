"""What the tests of the control plane share: its models, and control planes made of them."""

from functools import partial
from pathlib import Path

import pytest

from tests.control.control_plane import ControlPlane, MakeControl, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make_control(tmp_path: Path, models: Path, database: Path) -> MakeControl:
    """Makes control planes on one folder: one after the other they are restarts of one server."""
    return partial(ControlPlane, tmp_path, models, database)
