"""What is kept of responses: whole, within the bounds of a request, and in memory only once there is room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.errors import InvalidRequest, Overloaded, UnknownResponse
from modelyard.gateway.deferred import Deferred, decode_body
from modelyard.gateway.kept_responses import KeptResponse, KeptResponses, ResponseLimits
from modelyard.records.accounts import Account
from modelyard.store import Store
from modelyard.tasks.json_limits import MAX_ELEMENTS
from modelyard.units import MIB
from tests.clock import HandClock

PICTURE = "data:image/png;base64," + "A" * 400_000


@pytest.fixture
def store(own_database: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{own_database}") as opened:
        yield opened


@pytest.fixture
def account(store: Store) -> Account:
    return store.accounts.create("ada", HandClock().now())


@pytest.fixture
def kept(store: Store) -> KeptResponses:
    return KeptResponses(store.responses, HandClock(), ResponseLimits(hours=1, most=5, most_bytes=4 * MIB))


async def read(messages: Any) -> list[Any]:
    """Messages as a surface has them."""
    return list((await decode_body(json.dumps({"messages": messages}).encode()))["messages"])


async def test_a_picture_that_was_not_decoded_with_the_rest_is_kept_whole(
    kept: KeptResponses, account: Account
) -> None:
    sent = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]
    messages = await read(sent)
    assert isinstance(messages[0]["content"][0]["image_url"]["url"], Deferred)
    await kept.check(messages)
    await kept.keep(account.id, "a", KeptResponse(msgspec.Raw(b"{}"), messages, messages))
    again = await kept.get(account.id, "a")
    assert list(again.messages) == list(again.items) == sent


async def test_a_conversation_is_in_memory_only_once_there_is_room(kept: KeptResponses, account: Account) -> None:
    size = 2 * MIB
    messages = [{"role": "user", "content": "a" * size}]
    await kept.keep(account.id, "a", KeptResponse(msgspec.Raw(b"{}"), [], messages))
    asked: list[int] = []

    async def refuse(more_bytes: int) -> None:
        asked.append(more_bytes)
        raise Overloaded(retry_after_s=1)

    with pytest.raises(Overloaded):
        await kept.get(account.id, "a", grow=refuse)
    assert asked[0] >= 2 * size
    with pytest.raises(UnknownResponse):
        await kept.get("another", "a", grow=refuse)
    assert len(asked) == 1


async def test_a_conversation_of_more_values_than_a_request_may_have_is_not_kept(kept: KeptResponses) -> None:
    part = {"type": "text", "text": ""}
    few, many = (
        [{"role": "user", "content": [part] * (MAX_ELEMENTS // elements)} for _ in range(2)] for elements in (20, 5)
    )
    await kept.check(few)
    for refused in (many, [{"role": "user", "content": "a" * (5 * MIB)}]):
        with pytest.raises(InvalidRequest, match=r"^store: the conversation has .*accepted: false") as error:
            await kept.check(refused)
        assert error.value.data["field"] == "store"
