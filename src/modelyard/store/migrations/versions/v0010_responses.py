"""Responses that accounts may go on from."""

import sqlalchemy as sa
from alembic import op

revision = "v0010"
down_revision = "v0009"


def upgrade() -> None:
    """Adds the table; nothing was stored before."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)

    op.create_table(
        "responses",
        sa.Column("id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_responses_account_id_accounts")),
    )
    op.create_index(op.f("ix_responses_account_id_created_at"), "responses", ["account_id", "created_at"])
    op.create_index(op.f("ix_responses_expires_at"), "responses", ["expires_at"])
