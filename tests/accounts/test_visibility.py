"""Who may use which model of the hub, under every name that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.accounts.administration import Administration
from modelyard.accounts.visibility import Visibility
from modelyard.store.store import Store
from tests.clock import HandClock

PRIVATE = "acme/private"
NAMES = (PRIVATE, "ACME/Private", f"{PRIVATE}:Q4_K_M", f"{PRIVATE}:q8_0", f"{PRIVATE}.onnx.8-bit")


@pytest.fixture
def store(own_database: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{own_database}") as opened:
        yield opened


@pytest.mark.parametrize("shared_as", [PRIVATE, f"{PRIVATE}:Q4_K_M"])
def test_a_private_model_is_private_under_every_name_until_it_is_shared(store: Store, shared_as: str) -> None:
    administration = Administration(store, HandClock())
    administration.create_account("eve")
    eve = administration.get_account("eve").id
    visibility = Visibility(store.grants, ["operator"])
    visibility.note(PRIVATE, True)

    assert not any(visibility.may_use(eve, name) for name in NAMES)
    assert all(visibility.may_use("operator", name) for name in NAMES)

    administration.share_model(shared_as, "eve")
    visibility.read()

    assert all(visibility.may_use(eve, name) for name in NAMES)
