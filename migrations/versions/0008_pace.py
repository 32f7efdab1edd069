"""Limits that all workers share, and that outlive them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "pace",
        sa.Column("key", sa.String(253), primary_key=True),
        sa.Column("next_at", instant, nullable=False),
        sa.Column("connections", sa.SmallInteger()),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("paused_until", instant),
        sa.Column("reply", sa.String(512), nullable=False),
        sa.Column("changed_at", instant, nullable=False),
    )
    op.create_table(
        "spending",
        sa.Column("name", sa.String(8), primary_key=True),
        sa.Column("began_at", instant, primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("spending")
    op.drop_table("pace")
