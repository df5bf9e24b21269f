"""What the tests of the control plane share: its models, and yards made of them."""

from functools import partial
from pathlib import Path

import pytest

from tests.control.yard import MakeYard, Yard, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make_yard(tmp_path: Path, models: Path, database: Path) -> MakeYard:
    """Makes yards on one folder: one after the other they are restarts of one server."""
    return partial(Yard, tmp_path, models, database)
