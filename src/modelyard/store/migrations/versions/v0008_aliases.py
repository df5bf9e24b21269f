"""Names of accounts' own that stand for models."""

import sqlalchemy as sa
from alembic import op

revision = "v0008"
down_revision = "v0007"


def upgrade() -> None:
    """Adds the table; nobody has aliases yet."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)

    op.create_table(
        "aliases",
        sa.Column("account_id", words, nullable=False),
        sa.Column("name", words, nullable=False),
        sa.Column("model_id", words, nullable=False),
        sa.Column("task", words),
        sa.Column("capacity_min", sa.Integer),
        sa.Column("capacity_desired", sa.Integer),
        sa.Column("capacity_max", sa.Integer),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("modified_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_aliases")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_aliases_account_id_accounts")),
    )
