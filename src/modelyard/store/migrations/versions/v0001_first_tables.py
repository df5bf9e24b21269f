"""The first tables: accounts, keys, clusters, instances, events, models."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None


def upgrade() -> None:
    """Makes all of them."""
    moment = sa.DateTime(timezone=True)
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.create_table(
        "accounts",
        sa.Column("id", words, nullable=False),
        sa.Column("name", words, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )

    op.create_table(
        "keys",
        sa.Column("id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("name", words, nullable=False),
        sa.Column("key_hash", words, nullable=False),
        sa.Column("prefix", words, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("revoked_at", moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_keys_account_id")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_keys_key_hash")),
    )
    op.create_index(op.f("ix_keys_account_id"), "keys", ["account_id"])

    op.create_table(
        "clusters",
        sa.Column("id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("model_id", words, nullable=False),
        sa.Column("capacity_min", sa.Integer, nullable=False),
        sa.Column("capacity_desired", sa.Integer, nullable=False),
        sa.Column("capacity_max", sa.Integer, nullable=False),
        sa.Column("timeout_s", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("modified_at", moment, nullable=False),
        sa.Column("inferences", sa.BigInteger, nullable=False),
        sa.Column("last_inference_at", moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_clusters_account_id")),
        sa.UniqueConstraint("account_id", "model_id", name=op.f("uq_clusters_account_id_model_id")),
        sa.CheckConstraint(
            "0 <= capacity_min AND capacity_min <= capacity_desired AND capacity_desired <= capacity_max",
            name=op.f("ck_clusters_capacity_in_order"),
        ),
    )

    op.create_table(
        "instances",
        sa.Column("id", words, nullable=False),
        sa.Column("cluster_id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("model_id", words, nullable=False),
        sa.Column("node", words, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("heartbeat_at", moment, nullable=False),
        sa.Column("ready_at", moment),
        sa.Column("ended_at", moment),
        sa.Column("end_reason", words),
        sa.Column("pid", sa.BigInteger),
        sa.Column("pid_started", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_instances_account_id")),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= created_at", name=op.f("ck_instances_ends_after_start")),
    )
    op.create_index(op.f("ix_instances_account_id_created_at"), "instances", ["account_id", "created_at"])
    is_open = sa.text("ended_at IS NULL")
    op.create_index("ix_instances_open", "instances", ["node"], sqlite_where=is_open, postgresql_where=is_open)

    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("model_id", words, nullable=False),
        sa.Column("cluster_id", words),
        sa.Column("at", moment, nullable=False),
        sa.Column("kind", words, nullable=False),
        sa.Column("message", words, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_events_account_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_account_id_model_id_id"), "events", ["account_id", "model_id", "id"])

    op.create_table(
        "models",
        sa.Column("model_id", words, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_models")),
    )
