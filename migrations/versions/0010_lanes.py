"""What waits for a domain that takes no more waits in the lane of that domain alone."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("lane", sa.String(253)))
    op.drop_index("ix_delivery_claimable", "delivery")
    _index(
        "ix_delivery_claimable",
        ("mailing_id", "due_at", "id"),
        "state IN ('queued', 'deferred') AND lane IS NULL",
    )
    _index("ix_delivery_lane", ("mailing_id", "lane", "due_at", "id"), "lane IS NOT NULL")


def downgrade() -> None:
    op.drop_index("ix_delivery_lane", "delivery")
    op.drop_index("ix_delivery_claimable", "delivery")
    _index(
        "ix_delivery_claimable", ("mailing_id", "due_at", "id"), "state IN ('queued', 'deferred')"
    )
    op.drop_column("delivery", "lane")


def _index(name: str, columns: tuple[str, ...], rows: str) -> None:
    op.create_index(
        name, "delivery", columns, sqlite_where=sa.text(rows), postgresql_where=sa.text(rows)
    )
