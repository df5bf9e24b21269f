"""Who leads the servers of a database."""

import sqlalchemy as sa
from alembic import op

revision = "v0011"
down_revision = "v0010"


def upgrade() -> None:
    """Adds the table; until now there was one server to a database."""
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    op.create_table(
        "leases",
        sa.Column("name", words, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", words, nullable=False),
        sa.Column("holder_name", words, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        sa.UniqueConstraint("name", "token", name=op.f("uq_leases_name_token")),
    )
