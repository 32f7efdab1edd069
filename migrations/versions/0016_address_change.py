"""Changes of address that wait for the owner of the new one."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "address_change",
        sa.Column("id", row_id, primary_key=True),
        sa.Column("public_id", sa.String(16), nullable=False, unique=True),
        sa.Column(
            "subscriber_id",
            sa.BigInteger(),
            sa.ForeignKey("subscriber.id"),
            nullable=False,
            unique=True,
        ),
        sa.Column("address", sa.String(254), nullable=False),
        sa.Column("asked_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("done_at", instant),
    )
    op.create_index("ix_address_change_address", "address_change", ["address"])
    op.create_index("ix_address_change_expires_at", "address_change", ["expires_at"])


def downgrade() -> None:
    op.drop_table("address_change")
