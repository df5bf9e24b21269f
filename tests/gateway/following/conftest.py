"""The models of the control plane's tests."""

from pathlib import Path

import pytest

from tests.control.control_plane import make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))
