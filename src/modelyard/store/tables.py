"""The tables as this version of the program expects them, and the column types both databases share.

A new database gets these; a change here needs a migration in `migrations/versions`, for older ones, and its name in
`REVISION`; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import to_builtins
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

REVISION = "v0016"  # the migration that ends at these tables


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime with microseconds, on a database with time zones (PostgreSQL) or without (SQLite).

    SQLite keeps it as fixed-width text, so its order as text is its order in time.
    Binding a naive datetime raises ValueError: nobody can say which moment it means.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else in_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"a naive datetime cannot be stored: {moment!r}")
    return moment.astimezone(UTC)


def sqlite_text(moment: datetime) -> str:
    """What SQLite keeps of a moment, for statements that do not go through the types above."""
    text: str = to_builtins(in_utc(moment))  # a fifth of what isoformat takes; no fraction where that is 0
    return f"{text[:10]} {text[11:19]}{text[19:26] if moment.microsecond else '.000000'}"


class CleanText(TypeDecorator[str]):
    """Text of any length, with `�` for what a database cannot hold.

    PostgreSQL refuses NUL characters, both refuse lone surrogates, and a worker's last words or a command line may
    hold either: losing the whole line over one character would be worse.
    """

    # "C" orders by code point, as SQLite does. The server's own order changes with its C library, and an
    # index made under the old order then misses rows.
    impl = Text().with_variant(Text(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    # None, in each of these: no limit. Money is in billionths of a US dollar.
    Column("max_instances", Integer),
    Column("max_memory_bytes", BigInteger),
    Column("max_concurrent", Integer),
    Column("max_models", Integer),
    Column("max_disk_bytes", BigInteger),
    Column("weight", Integer),
    Column("credit_nano", BigInteger),
    Column("monthly_limit_nano", BigInteger),
)

keys = Table(
    "keys",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", CleanText, nullable=False),
    Column("key_hash", CleanText, nullable=False, unique=True),
    Column("prefix", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("rate_limit", Integer),
)

# `version` of a cluster: the value of the counter "clusters" at its last change, counts aside; a deletion counts too.
# `wake_version`: the same of the last change after which a cluster that had idled out or failed starts anew.
clusters = Table(
    "clusters",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("model_id", CleanText, nullable=False),
    Column("capacity_min", Integer, nullable=False),
    Column("capacity_desired", Integer, nullable=False),
    Column("capacity_max", Integer, nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("timeout_given", Boolean, nullable=False, server_default=true()),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    Column("inferences", BigInteger, nullable=False),
    Column("last_inference_at", UtcDateTime),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("wake_version", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("account_id", "model_id"),
    CheckConstraint(
        "0 <= capacity_min AND capacity_min <= capacity_desired AND capacity_desired <= capacity_max",
        name="capacity_in_order",
    ),
)
Index(None, clusters.c.version)

# The latest that were deleted, by the counter's value: for whoever asks what has changed since.
deleted_clusters = Table(
    "deleted_clusters",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
Index(None, deleted_clusters.c.version)

counters = Table(
    "counters",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Who leads the servers of this database. `token` rises with each holder. It is a part of a key on purpose: a
# transaction that holds a share of that key keeps others from changing who leads, and not the holder from renewing.
leases = Table(
    "leases",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", CleanText, nullable=False),
    Column("holder_name", CleanText, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("address", JSON(none_as_null=True)),
    UniqueConstraint("name", "token"),
)

# `server_id`, here and below: the server that runs it. Only that server may say that it was cut off; None: a server of
# before there were such ids.
# `cluster_id` refers to nothing on purpose: the ledger outlives the clusters it bills for.
instances = Table(
    "instances",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("cluster_id", CleanText, nullable=False),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("model_id", CleanText, nullable=False),
    Column("node", CleanText, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ready_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("end_reason", CleanText),
    Column("pid", BigInteger),
    Column("pid_started", BigInteger),
    Column("tariff", JSON),
    Column("server_id", CleanText),
    CheckConstraint("ended_at IS NULL OR ended_at >= created_at", name="ends_after_start"),
)
Index(None, instances.c.account_id, instances.c.created_at)
# A few open lives among years of ended ones: the index holds only the open.
Index(
    "ix_instances_open",
    instances.c.node,
    sqlite_where=instances.c.ended_at.is_(None),
    postgresql_where=instances.c.ended_at.is_(None),
)

# AUTOINCREMENT: SQLite would otherwise hand out the id of a pruned row again, and a reader paging
# by `after_id` would never see the new row that got it.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("model_id", CleanText, nullable=False),
    Column("cluster_id", CleanText),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("message", CleanText, nullable=False),
    # JSON and not JSONB: nothing is looked up inside, and JSONB refuses "\u0000" in a string.
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)
Index(None, events.c.account_id, events.c.model_id, events.c.id)

# One row for each request that a replica was asked to answer: what it was metered at. `charged_nano` is its part of the
# bill (0 where the bill is for the instances' time); `reserved_nano` counts as spent until it is settled.
requests = Table(
    "requests",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("key_id", CleanText),
    Column("model_id", CleanText, nullable=False),
    Column("instance_id", CleanText),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("outcome", CleanText),
    Column("took_us", BigInteger, nullable=False),
    Column("reserved_nano", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("charged_nano", BigInteger, nullable=False),
    Column("server_id", CleanText),
    Column("prompt_tokens", BigInteger),
    Column("new_tokens", BigInteger),
)
Index(None, requests.c.account_id, requests.c.at)

# What is known of each model, whoever said so: its files, a published list, a measurement.
models = Table(
    "models",
    metadata,
    Column("model_id", CleanText, primary_key=True),
    Column("task", CleanText),
    Column("source", CleanText, nullable=False),
    Column("memory_bytes", BigInteger),
    Column("memory_source", CleanText),
    Column("parameters", BigInteger),
    Column("architecture", CleanText),
    Column("revision", CleanText),
    Column("license", CleanText),
    Column("variant_of", CleanText),
    Column("refusal", CleanText),
    Column("facts", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
Index(None, models.c.task, models.c.model_id)
Index(None, models.c.variant_of)

jobs = Table(
    "jobs",
    metadata,
    Column("model_id", CleanText, primary_key=True),
    Column("state", CleanText, nullable=False),
    Column("message", CleanText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("server_id", CleanText),
)
Index(None, jobs.c.state, jobs.c.created_at)

# Several accounts may ask for one model; it is measured once.
job_askers = Table(
    "job_askers",
    metadata,
    Column("model_id", ForeignKey("jobs.model_id"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
)

# Models of the hub that not every account may use, by their ids in lower case, and which accounts may.
restricted_models = Table(
    "restricted_models",
    metadata,
    Column("model_key", CleanText, primary_key=True),
)
model_grants = Table(
    "model_grants",
    metadata,
    Column("model_key", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", name="fk_model_grants_account_id_accounts"), primary_key=True),
)

# What this server has downloaded into the hub's cache: the newest download of each model. `mark`: what the file beside
# a model's files says, so that files which another tool put there later are not taken for these.
downloads = Table(
    "downloads",
    metadata,
    Column("model_id", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", name="fk_downloads_account_id_accounts"), nullable=False),
    Column("mark", CleanText, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("others_bytes", BigInteger, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
)

# Names of an account's own that stand for models. The counter "aliases" says how often any was changed.
aliases = Table(
    "aliases",
    metadata,
    Column("account_id", ForeignKey("accounts.id", name="fk_aliases_account_id_accounts"), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("model_id", CleanText, nullable=False),
    Column("task", CleanText),
    # All three, or none.
    Column("capacity_min", Integer),
    Column("capacity_desired", Integer),
    Column("capacity_max", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
)

# Names and not references: a line tells of what may be gone, and of whom nobody knows. AUTOINCREMENT: as in `events`.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("way", CleanText, nullable=False),
    Column("actor", CleanText, nullable=False),
    Column("key_id", CleanText),
    Column("source", CleanText),
    Column("action", CleanText, nullable=False),
    Column("account", CleanText),
    Column("subject", CleanText, nullable=False),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Column("outcome", CleanText, nullable=False),
    Column("reason", CleanText),
    sqlite_autoincrement=True,
)

# Responses that accounts may go on from, packed. What has expired goes.
responses = Table(
    "responses",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", name="fk_responses_account_id_accounts"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
Index(None, responses.c.account_id, responses.c.created_at)
Index(None, responses.c.expires_at)

# What charts show of the past, `at` the beginning of each step. No references: machines are in no table, and what was
# is shown for as long as it is kept.
cluster_history = Table(
    "cluster_history",
    metadata,
    Column("account_id", CleanText, primary_key=True),
    Column("model_id", CleanText, primary_key=True),
    Column("step_s", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("waited_us", BigInteger, nullable=False),
    Column("latency", JSON, nullable=False),
    Column("in_flight", Integer, nullable=False),
    Column("queued", Integer, nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
)
Index(None, cluster_history.c.step_s, cluster_history.c.at)
node_history = Table(
    "node_history",
    metadata,
    Column("node", CleanText, primary_key=True),
    Column("device", CleanText, primary_key=True),
    Column("step_s", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, primary_key=True),
    Column("budget_bytes", BigInteger, nullable=False),
    Column("reserved_bytes", BigInteger, nullable=False),
    Column("held_bytes", BigInteger, nullable=False),
    Column("evictions", Integer, nullable=False),
)
Index(None, node_history.c.step_s, node_history.c.at)

# Which migration the tables are at, as Alembic notes it. Not among `metadata`: Alembic makes it itself.
alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
