"""What this server has downloaded into the hub's cache, for whom, and who uses which models.

Whether the files are still there, only the disk knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import select

from modelyard.records.downloads import DownloadRecord
from modelyard.records.files import repository_of
from modelyard.records.variants import split_variant
from modelyard.store.database import Database, insert_into
from modelyard.store.jobs import OVER
from modelyard.store.tables import clusters, downloads, instances, job_askers, jobs, models


class Downloads:
    """At most one record for each model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, record: DownloadRecord) -> None:
        """Keeps the record, in place of an earlier one of that model. Raises NotFound when there is no such account."""
        values = asdict(record)
        with self._database.write() as connection:
            statement = insert_into(connection, downloads).values(values)
            connection.execute(statement.on_conflict_do_update(index_elements=["model_id"], set_=values))

    def list(self) -> Sequence[DownloadRecord]:
        """All records, by model id."""
        with self._database.read() as connection:
            rows = connection.execute(select(downloads).order_by(downloads.c.model_id))
            return [DownloadRecord(**row._mapping) for row in rows]

    def list_users(self) -> Mapping[str, Sequence[str]]:
        """Model id → the ids of the accounts that use it, first those with a cluster, the oldest first.

        Used is a model that a cluster, a job that is not over or an open instance is of; of a job for a variant, also
        the model that it is made from, and of an adapter its base.
        """
        of_clusters = select(clusters.c.model_id, clusters.c.account_id).order_by(clusters.c.created_at, clusters.c.id)
        of_jobs = (
            select(jobs.c.model_id, job_askers.c.account_id)
            .join(job_askers, job_askers.c.model_id == jobs.c.model_id)
            .where(jobs.c.state.not_in(OVER))
            .order_by(job_askers.c.asked_at, job_askers.c.account_id)
        )
        of_instances = select(instances.c.model_id, instances.c.account_id).where(instances.c.ended_at.is_(None))
        base_id = models.c.facts["adapter", "base"].as_string()
        of_adapters = select(models.c.model_id, base_id.label("base_id")).where(base_id.is_not(None))
        with self._database.read() as connection:
            bases = {row.model_id: row.base_id for row in connection.execute(of_adapters)}
            wanted = [(row.model_id, row.account_id) for row in connection.execute(of_clusters)]
            asked = [(row.model_id, row.account_id) for row in connection.execute(of_jobs)]
            running = [(row.model_id, row.account_id) for row in connection.execute(of_instances)]
        made_from = [(split_variant(model_id)[0], account_id) for model_id, account_id in asked]
        users: dict[str, dict[str, None]] = {}
        used = [*wanted, *asked, *made_from, *running]
        changed = [(bases[model_id], account_id) for model_id, account_id in used if model_id in bases]
        for model_id, account_id in [*used, *changed]:
            users.setdefault(repository_of(model_id), {})[account_id] = None
        return {model_id: list(each) for model_id, each in users.items()}
