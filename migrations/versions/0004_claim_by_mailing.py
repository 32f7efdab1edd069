"""What waits is found mailing by mailing, however much waits beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITS = sa.text("state IN ('queued', 'deferred')")


def upgrade() -> None:
    _replace("mailing_id", "due_at", "id")


def downgrade() -> None:
    _replace("priority", "due_at", "id")


def _replace(*columns: str) -> None:
    op.drop_index("ix_delivery_claimable", "delivery")
    op.create_index(
        "ix_delivery_claimable",
        "delivery",
        columns,
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    )
