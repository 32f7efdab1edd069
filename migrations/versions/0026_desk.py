"""The desk: links to sign in, sessions, and what a change was from and to in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "desk_login",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(90), nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("used_at", instant, nullable=True),
    )
    op.create_index("ix_desk_login_expires_at", "desk_login", ["expires_at"])
    op.create_table(
        "desk_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(90), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("ended_at", instant, nullable=True),
    )
    op.create_index("ix_desk_session_expires_at", "desk_session", ["expires_at"])
    for name in ("before", "after"):
        op.add_column("audit", sa.Column(name, sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    for name in ("after", "before"):
        op.execute(f"ALTER TABLE audit DROP COLUMN {name}")
    op.drop_table("desk_session")
    op.drop_table("desk_login")
