"""The editor's hand: articles held, rejected and pinned, notes, and who did it."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("held_at", "rejected_at", "pinned_at"):
        op.add_column("article", sa.Column(name, instant, nullable=True))
    op.create_table(
        "note",
        sa.Column("id", row_id, primary_key=True),
        sa.Column("cadence", sa.String(8), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("edition_id", sa.BigInteger(), sa.ForeignKey("edition.id")),
    )
    op.create_index("ix_note_edition_id", "note", ["edition_id"])
    op.create_table(
        "audit",
        sa.Column("id", row_id, primary_key=True),
        sa.Column("at", instant, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject"])


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("note")
    for name in ("pinned_at", "rejected_at", "held_at"):
        op.drop_column("article", name)
