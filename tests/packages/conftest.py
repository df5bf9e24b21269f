"""What is installed here comes from an index on the network, whose certificate is not of the tests' own authority."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def authorities_of_the_machine(one_authority: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs trust whom they trust without the tests."""
    if one_authority is None:
        monkeypatch.delenv("SSL_CERT_FILE")
    else:
        monkeypatch.setenv("SSL_CERT_FILE", one_authority)
