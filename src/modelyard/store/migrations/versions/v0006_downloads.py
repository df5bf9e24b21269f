"""What was downloaded for whom, and how much of it an account may have."""

import sqlalchemy as sa
from alembic import op

revision = "v0006"
down_revision = "v0005"


def upgrade() -> None:
    """Adds the limit and the table; nobody knows for whom earlier downloads were."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.add_column("accounts", sa.Column("max_disk_bytes", sa.BigInteger))
    op.create_table(
        "downloads",
        sa.Column("model_id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("mark", words, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("others_bytes", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_downloads")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_downloads_account_id_accounts")),
    )
