"""Models that not every account may use, and who may."""

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    """Adds the tables; what is restricted is learned when a model is looked up the next time."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.create_table(
        "restricted_models",
        sa.Column("model_key", words, nullable=False),
        sa.PrimaryKeyConstraint("model_key", name=op.f("pk_restricted_models")),
    )
    op.create_table(
        "model_grants",
        sa.Column("model_key", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.PrimaryKeyConstraint("model_key", "account_id", name=op.f("pk_model_grants")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_model_grants_account_id_accounts")),
    )
