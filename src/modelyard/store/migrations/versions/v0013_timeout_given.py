"""Whether a client has named a cluster's timeout, or left it to the server."""

import sqlalchemy as sa
from alembic import op

revision = "v0013"
down_revision = "v0012"


def upgrade() -> None:
    """Adds the column. Of clusters that are there nobody knows any more: their timeouts are kept as if named."""
    op.add_column("clusters", sa.Column("timeout_given", sa.Boolean, nullable=False, server_default=sa.true()))
