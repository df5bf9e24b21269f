"""When an instance's process began: what is billed by its life is billed from then on."""

import sqlalchemy as sa
from alembic import op

revision = "v0005"
down_revision = "v0004"


def upgrade() -> None:
    """Adds the column; bills of before stay as they are."""
    moment = sa.DateTime(timezone=True)
    op.add_column("instances", sa.Column("started_at", moment))
    op.execute("UPDATE instances SET started_at = created_at")
