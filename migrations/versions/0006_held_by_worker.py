"""What a worker holds is found by its worker alone, so that a mark changes no index."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _replace(sa.text("worker_id IS NOT NULL"))


def downgrade() -> None:
    _replace(sa.text("state IN ('claimed', 'in_flight')"))


def _replace(rows: sa.TextClause) -> None:
    op.drop_index("ix_delivery_held", "delivery")
    op.create_index(
        "ix_delivery_held", "delivery", ("worker_id",), sqlite_where=rows, postgresql_where=rows
    )
