"""The history that charts show."""

import sqlalchemy as sa
from alembic import op

revision = "v0016"
down_revision = "v0015"


def upgrade() -> None:
    """Adds the tables; nothing was stored before."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)

    op.create_table(
        "cluster_history",
        sa.Column("account_id", words, nullable=False),
        sa.Column("model_id", words, nullable=False),
        sa.Column("step_s", sa.Integer, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("waited_us", sa.BigInteger, nullable=False),
        sa.Column("latency", sa.JSON, nullable=False),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("queued", sa.Integer, nullable=False),
        sa.Column("replicas", sa.Integer, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "model_id", "step_s", "at", name=op.f("pk_cluster_history")),
    )
    op.create_index(op.f("ix_cluster_history_step_s_at"), "cluster_history", ["step_s", "at"])
    op.create_table(
        "node_history",
        sa.Column("node", words, nullable=False),
        sa.Column("device", words, nullable=False),
        sa.Column("step_s", sa.Integer, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("budget_bytes", sa.BigInteger, nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger, nullable=False),
        sa.Column("held_bytes", sa.BigInteger, nullable=False),
        sa.Column("evictions", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("node", "device", "step_s", "at", name=op.f("pk_node_history")),
    )
    op.create_index(op.f("ix_node_history_step_s_at"), "node_history", ["step_s", "at"])
