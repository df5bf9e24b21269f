"""Where the server that leads is followed by the others."""

import sqlalchemy as sa
from alembic import op

revision = "v0014"
down_revision = "v0013"


def upgrade() -> None:
    """Adds the column; nobody knows where who led before is followed."""
    op.add_column("leases", sa.Column("address", sa.JSON))
