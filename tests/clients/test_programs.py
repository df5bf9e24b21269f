"""What is said where the published clients are not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import programs


def test_a_client_that_is_not_installed_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PACKAGES", tmp_path)
    with pytest.raises(AssertionError, match=r"bytez-3\.0\.1 is not there.*python\S* \S*tests/clients/install\.py"):
        programs.run_python("python_client.py", "3.0.1", 8080)
