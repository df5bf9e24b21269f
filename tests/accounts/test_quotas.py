"""What accounts may have, and how many requests they have under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts import rereading as module
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rereading import READ_EVERY_S
from modelyard.errors import TooManyAtOnce
from modelyard.gateway import problem
from modelyard.records.accounts import Account, Quota
from modelyard.store.store import Store
from tests.clock import START


@pytest.fixture
def url(own_database: Path) -> str:
    return f"sqlite:///{own_database}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def limited(store: Store, concurrent: int | None) -> tuple[Quotas, str]:
    """The quotas of one account, and its id."""
    account = store.accounts.ensure("ada", START)
    store.accounts.set_limits(account.id, max_concurrent=concurrent)
    quotas = Quotas(store.accounts.list_with_quota)
    quotas.read()
    return quotas, account.id


def test_an_account_nobody_has_limited_may_have_all(store: Store) -> None:
    quotas, account_id = limited(store, None)
    assert quotas.of(account_id) == quotas.of("acc_0") == Quota()


def test_every_limit_is_known(store: Store) -> None:
    quotas, account_id = limited(store, 3)
    store.accounts.set_limits(account_id, max_instances=1, max_memory_bytes=2, max_models=4, max_disk_bytes=5)
    quotas.read()
    assert quotas.of(account_id) == Quota(instances=1, memory_bytes=2, concurrent=3, models=4, disk_bytes=5)


async def test_what_another_process_changes_takes_effect_by_itself(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert READ_EVERY_S <= 5
    monkeypatch.setattr(module, "READ_EVERY_S", 0.01)
    quotas, account_id = limited(store, 3)
    reading = asyncio.create_task(quotas.read_forever())
    with Store.open(url) as other:
        for concurrent in (8, None, 1):
            other.accounts.set_limits(account_id, max_concurrent=concurrent)
            async with asyncio.timeout(200):
                while quotas.of(account_id).concurrent != concurrent:
                    await asyncio.sleep(0.005)
    reading.cancel()
    await asyncio.wait({reading})


async def test_while_the_database_does_not_answer_what_was_known_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "READ_EVERY_S", 0.01)
    quotas, account_id = limited(store, 3)
    store.close()
    reading = asyncio.create_task(quotas.read_forever())
    async with asyncio.timeout(200):
        while len(caplog.records) < 2:
            await asyncio.sleep(0.005)
    assert not reading.done()
    assert quotas.of(account_id).concurrent == 3
    reading.cancel()
    await asyncio.wait({reading})


def test_one_request_too_many_is_refused_and_told_the_limit(store: Store) -> None:
    quotas, account_id = limited(store, 2)
    with quotas.request(account_id), quotas.request(account_id), quotas.request("acc_other"):
        with pytest.raises(TooManyAtOnce, match="under way at once are limited to 2, and there are 2") as refusal:
            quotas.request(account_id).__enter__()
        assert (refusal.value.status, problem.headers_of(refusal.value)) == (429, {"retry-after": "1"})
        assert quotas.under_way() == 3
    with quotas.request(account_id), quotas.request(account_id):
        assert quotas.under_way() == 2
    assert quotas.under_way() == 0


@pytest.mark.parametrize("end", [ValueError, asyncio.CancelledError, GeneratorExit, KeyboardInterrupt])
def test_a_request_counts_no_longer_however_it_ends(store: Store, end: type[BaseException]) -> None:
    quotas, account_id = limited(store, 1)
    for _ in range(3):
        with suppress(end), quotas.request(account_id):
            raise end
    assert quotas.under_way() == 0


@given(limit=st.integers(0, 4), steps=st.lists(st.integers(0, 5), max_size=60))
def test_the_count_is_exact_whatever_comes_and_goes(limit: int, steps: list[int]) -> None:
    quotas = Quotas(lambda: [Account("a", "ada", START, max_concurrent=limit)])
    quotas.read()
    held: list[ExitStack] = []
    for step in steps:
        if step < 3:
            stack = ExitStack()
            with suppress(TooManyAtOnce):
                stack.enter_context(quotas.request("a"))
                held.append(stack)
        elif held:
            held.pop(step % len(held)).close()
        assert quotas.under_way() == len(held) <= limit
    for stack in held:
        stack.close()
    assert quotas.under_way() == 0
