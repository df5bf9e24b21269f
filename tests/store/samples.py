"""Moments and records for the store's tests."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from modelyard.records.accounts import Account
from modelyard.records.clusters import Capacity, Event
from modelyard.records.instances import Instance
from modelyard.store import Store, new_id
from modelyard.store.tables import accounts

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MODEL = "openai-community/gpt2"
SERVER = "srv_1"
OTHER_SERVER = "srv_2"
CAPACITY = Capacity(min=0, desired=1, max=2)


def at(seconds: float) -> datetime:
    """That long after the tests' beginning of time."""
    return START + timedelta(seconds=seconds)


def life(account: Account, begin: float = 0, *, model_id: str = MODEL, node: str = "node-a") -> Instance:
    """A replica's life that began at `at(begin)`."""
    return Instance(
        id=new_id("instance"),
        cluster_id="cl_1",
        account_id=account.id,
        model_id=model_id,
        node=node,
        memory_bytes=500_000_000,
        created_at=at(begin),
        heartbeat_at=at(begin),
    )


def line(account: Account, message: str, seconds: float = 0, *, model_id: str = MODEL) -> Event:
    """A line of a cluster's log."""
    return Event(account.id, model_id, at(seconds), "note", message)


def fund(store: Store, account: Account, **funds: int | None) -> None:
    """Gives an account a credit or a limit by SQL: `credit_nano`, `monthly_limit_nano`."""
    with store._database.write() as connection:
        connection.execute(update(accounts).where(accounts.c.id == account.id).values(funds))
