"""Tokens of servers of which there is one, in either database."""

from modelyard.store import Store


def test_tokens_rise_where_there_is_one_server(store: Store) -> None:
    assert [store.leases.count() for _ in range(3)] == [1, 2, 3]
