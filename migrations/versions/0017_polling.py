"""When each feed is asked again, and when the operator was told that it fails."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_COLUMNS = {
    "next_fetch_at": sa.DateTime(timezone=True),
    "waits_for": sa.String(16),
    "ttl_minutes": sa.Integer(),
    "skip_hours": sa.JSON(),
    "reported_at": sa.DateTime(timezone=True),
}


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.add_column("feed", sa.Column(name, kind))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("feed", name)
