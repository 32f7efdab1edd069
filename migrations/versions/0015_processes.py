"""Web processes sign in beside workers, with their version; the end of a fetch is noted."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publication", sa.Column("fetched_at", sa.DateTime(timezone=True)))
    # Processes of the version before, which knew workers alone, may sign in once more.
    op.add_column(
        "worker", sa.Column("kind", sa.String(8), nullable=False, server_default="worker")
    )
    op.add_column("worker", sa.Column("version", sa.String(32)))


def downgrade() -> None:
    op.drop_column("worker", "version")
    op.drop_column("worker", "kind")
    op.drop_column("publication", "fetched_at")
