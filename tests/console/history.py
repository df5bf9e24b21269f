"""Figures for the console's charts, as if a server had written them down."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.config import DATABASE_NAME
from modelyard.records.history import ClusterPoint, NodePoint
from modelyard.store.database import Database
from modelyard.store.history import History
from tests.serving import Server


def account_id_of(server: Server, name: str) -> str:
    accounts = server.client.get("/admin/v1/accounts").json()["output"]
    return str(next(each["id"] for each in accounts if each["name"] == name))


def add_history(server: Server, clusters: Sequence[ClusterPoint], nodes: Sequence[NodePoint] = ()) -> None:
    """Writes them into the database of a server that runs."""
    database = Database(f"sqlite:///{server.data_dir / DATABASE_NAME}")
    History(database).add(clusters, nodes)
    database.close()
