"""How much of the machines an account is to have beside others."""

import sqlalchemy as sa
from alembic import op

revision = "v0012"
down_revision = "v0011"


def upgrade() -> None:
    """Adds the column; so far all accounts had equal parts."""
    op.add_column("accounts", sa.Column("weight", sa.Integer))
