"""Versions of clusters, and which server runs what."""

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"


def upgrade() -> None:
    """Adds the columns; the counter of versions begins at the first change."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    for name in ("version", "wake_version"):
        op.add_column("clusters", sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "counters",
        sa.Column("name", words, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    for table in ("instances", "requests", "jobs"):
        op.add_column(table, sa.Column("server_id", words))
