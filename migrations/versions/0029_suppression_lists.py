"""Lists of suppressions by cause, the newest first, and their counts."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_suppression_cause", "suppression", ["cause", "id"])


def downgrade() -> None:
    op.drop_index("ix_suppression_cause", table_name="suppression")
