"""What each request's model read and wrote, in tokens."""

import sqlalchemy as sa
from alembic import op

revision = "v0015"
down_revision = "v0014"


def upgrade() -> None:
    """Adds the columns; nobody knows it of requests from before."""
    for name in ("prompt_tokens", "new_tokens"):
        op.add_column("requests", sa.Column(name, sa.BigInteger))
