"""The audit log."""

import sqlalchemy as sa
from alembic import op

revision = "v0009"
down_revision = "v0008"


def upgrade() -> None:
    """Adds the table; what was changed before is told nowhere."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("way", words, nullable=False),
        sa.Column("actor", words, nullable=False),
        sa.Column("key_id", words),
        sa.Column("source", words),
        sa.Column("action", words, nullable=False),
        sa.Column("account", words),
        sa.Column("subject", words, nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True)),
        sa.Column("after", sa.JSON(none_as_null=True)),
        sa.Column("outcome", words, nullable=False),
        sa.Column("reason", words),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
