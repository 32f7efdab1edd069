"""What comes back of a delivery stands beside it: bounces, complaints, providers' events."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_COUNTERS = ("pruned_bounced", "pruned_complained")


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "report",
        sa.Column("id", sa.Integer() if is_sqlite else sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("mailing_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=True),
        sa.Column("enhanced", sa.String(length=12), nullable=True),
        sa.Column("phase", sa.String(length=10), nullable=True),
        sa.Column("reply", sa.String(length=512), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("is_void", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"]),
        sa.ForeignKeyConstraint(["mailing_id"], ["mailing.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("delivery_id", "verdict", name="uq_report_delivery_verdict"),
    )
    op.create_index("ix_report_books", "report", ["mailing_id", "kind", "delivery_id"])
    op.execute("CREATE INDEX ix_report_unplaced ON report (at) WHERE report.delivery_id IS NULL")
    op.create_table(
        "receipt",
        sa.Column("key", sa.String(length=48), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_receipt_at", "receipt", ["at"])
    op.create_table(
        "rejection",
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("cause", sa.String(length=24), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "cause"),
    )
    for name in _COUNTERS:
        column = sa.Column(name, sa.Integer(), nullable=False, server_default="0")
        op.add_column("mailing", column)
    op.add_column("edition", sa.Column("alarmed", sa.String(length=24), nullable=True))


def downgrade() -> None:
    # Not by alembic's copy of the table, which its foreign keys forbid on SQLite.
    for table, names in (("edition", ("alarmed",)), ("mailing", _COUNTERS)):
        for name in names:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    for table in ("rejection", "receipt", "report"):
        op.drop_table(table)
