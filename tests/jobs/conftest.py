"""What the tests of jobs share: a control plane without a server, on one folder."""

from tests.control.conftest import make_control, models

__all__ = ["make_control", "models"]
