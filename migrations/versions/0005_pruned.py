"""A mailing remembers how many of its deliveries were pruned, so that the books still balance."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("pruned_accepted", "pruned_refused", "pruned_skipped", "pruned_cancelled")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("mailing", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("mailing", name)
