"""Counts of deliveries, readers, replies, suppressions and reports are kept in a table.

What is there is counted once. What has happened before, replies and pruned rows aside, is counted
by what is left of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COUNTED = (
    "SELECT 'delivery', mailing_id, state, count(*) FROM delivery GROUP BY mailing_id, state",
    *(
        f"SELECT 'delivery', id, '{state}', pruned_{state} FROM mailing WHERE pruned_{state} > 0"
        for state in ("accepted", "refused", "skipped", "cancelled")
    ),
    """
    SELECT 'ended', mailing_id, 'unknown', count(*) FROM delivery
    WHERE state = 'unknown' GROUP BY mailing_id
    """,
    """
    SELECT 'reader', 0, cadence || ' ' || status, count(*) FROM subscriber
    GROUP BY cadence, status
    """,
    "SELECT 'suppression', 0, cause, count(*) FROM suppression GROUP BY cause",
    "SELECT 'report', 0, source || ' ' || kind, count(*) FROM report GROUP BY source, kind",
    """
    SELECT 'unplaced', 0, source, count(*) FROM report
    WHERE delivery_id IS NULL GROUP BY source
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        # Rows of transactions that have begun before are counted when these are over.
        op.execute(
            "LOCK TABLE subscriber, suppression, delivery, report, mailing"
            " IN SHARE ROW EXCLUSIVE MODE"
        )
    op.create_table(
        "tally",
        sa.Column("id", sa.Integer() if is_sqlite else sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=12), nullable=False),
        sa.Column("mailing_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("worker_id", "name", "mailing_id", "key", name="uq_tally"),
    )
    op.create_index("ix_tally_mailing", "tally", ["mailing_id"])
    for counted in _COUNTED:
        op.execute(
            f"INSERT INTO tally (worker_id, name, mailing_id, key, change) "
            f"SELECT CAST(NULL AS BIGINT), counted.* FROM ({counted}) AS counted"
        )


def downgrade() -> None:
    op.drop_table("tally")
