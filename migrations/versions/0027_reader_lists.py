"""Lists of readers by cadence and status, the newest first."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_subscriber_newest", "subscriber", ["cadence", "status", "id"])


def downgrade() -> None:
    op.drop_index("ix_subscriber_newest", table_name="subscriber")
