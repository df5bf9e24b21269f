from __future__ import annotations

import pytest

from modelyard.config import Settings
from modelyard.errors import CannotListen, InvalidRequest
from modelyard.serving.from_settings import memory_limits_of, open_engine, policy_of, share_of_gateway, space_rules_of
from modelyard.serving.server import open_listeners
from modelyard.units import GIB, MIB


def test_memory_of_requests_follows_what_replicas_may_hold_and_what_one_request_may() -> None:
    large = memory_limits_of(Settings(memory_gb=64, max_request_mb=100))
    assert (large.request_bytes, large.server_bytes, large.account_bytes) == (100 * MIB, 4 * GIB, 2 * GIB)
    small = memory_limits_of(Settings(memory_gb=1, max_request_mb=100))
    assert small.server_bytes == 400 * MIB
    told = memory_limits_of(Settings(memory_gb=1, requests_memory_mb=50, account_requests_mb=20))
    assert (told.server_bytes, told.account_bytes) == (50 * MIB, 20 * MIB)


def test_gateways_share_what_is_bounded_for_all_of_them_but_each_takes_the_largest_request() -> None:
    settings = Settings(gateways=4, memory_gb=64, max_request_mb=100, max_connections=400)
    each = share_of_gateway(settings)
    limits = memory_limits_of(each)
    assert (limits.server_bytes, limits.account_bytes, each.max_connections) == (1 * GIB, 512 * MIB, 100)
    small = memory_limits_of(share_of_gateway(Settings(gateways=4, memory_gb=1, max_request_mb=100)))
    assert (small.server_bytes, small.account_bytes) == (100 * MIB, 100 * MIB)


@pytest.mark.parametrize("count", [0, 65])
def test_a_number_of_gateways_that_there_cannot_be_is_refused_by_name(count: int) -> None:
    with (
        pytest.raises(InvalidRequest, match=rf"gateways: got {count}; accepted: 1 to 64"),
        open_listeners(Settings(gateways=count, port=0)),
    ):
        pass


def test_gateways_listen_on_one_port_which_nobody_else_may_take() -> None:
    with open_listeners(Settings(gateways=3, port=0)) as listeners:
        (port,) = {each.getsockname()[1] for each in listeners}
        with pytest.raises(CannotListen), open_listeners(Settings(gateways=2, port=port)):
            pass


def test_the_loop_and_the_cache_keep_to_settings() -> None:
    policy = policy_of(Settings(boots_at_once=3, drain_s=7.0))
    assert (policy.boots_at_once, policy.drain_s) == (3, 7.0)
    assert space_rules_of(Settings(cache_gb=2)).cache_bytes == 2 * GIB
    assert space_rules_of(Settings()).cache_bytes is None


def test_an_engine_that_does_not_exist_is_refused_by_name() -> None:
    async def fetch(*_: object) -> None:
        raise AssertionError("nothing is fetched")

    with pytest.raises(InvalidRequest, match="engine") as refused:
        open_engine(Settings(engine="carrier-pigeon"), fetch)  # type: ignore[arg-type]  # nothing is fetched
    assert refused.value.data["accepted"] == "local or ray"
