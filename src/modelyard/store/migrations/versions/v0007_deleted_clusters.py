"""Who asks which clusters have changed is told those alone: an index of versions, and which were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "v0007"
down_revision = "v0006"


def upgrade() -> None:
    """Adds both; earlier deletions are known to nobody who will ask."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.create_index(op.f("ix_clusters_version"), "clusters", ["version"])
    op.create_table(
        "deleted_clusters",
        sa.Column("id", words, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_clusters")),
    )
    op.create_index(op.f("ix_deleted_clusters_version"), "deleted_clusters", ["version"])
