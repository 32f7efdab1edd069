"""The sending's progress is numbered: a clock may go back, a number does not."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("progress") as progress:
        progress.add_column(
            sa.Column("serial", sa.BigInteger(), nullable=False, server_default="0")
        )
        progress.alter_column("serial", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("progress") as progress:
        progress.drop_column("serial")
