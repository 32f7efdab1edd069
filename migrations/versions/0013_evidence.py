"""What a sheet says of a reader's sign-up, language and time zone is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("consent", sa.Column("evidence", sa.Text(), nullable=True))
    op.add_column("subscriber", sa.Column("language", sa.String(length=35), nullable=True))
    op.add_column("subscriber", sa.Column("timezone", sa.String(length=64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("subscriber") as subscriber:
        subscriber.drop_column("timezone")
        subscriber.drop_column("language")
    with op.batch_alter_table("consent") as consent:
        consent.drop_column("evidence")
