"""What a watchdog judges by: the last good run, the last delivery that ended, what is unknown."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.add_column("progress", sa.Column("ended_at", instant, nullable=True))
    op.add_column("scheduler_run", sa.Column("succeeded_at", instant, nullable=True))
    op.execute("UPDATE scheduler_run SET succeeded_at = ended_at WHERE error IS NULL")
    op.execute(
        "CREATE INDEX ix_delivery_unknown ON delivery (state_at) WHERE delivery.state = 'unknown'"
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_unknown", "delivery")
    op.execute("ALTER TABLE scheduler_run DROP COLUMN succeeded_at")
    op.execute("ALTER TABLE progress DROP COLUMN ended_at")
