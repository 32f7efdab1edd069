"""How often the articles of an edition were opened from its mails."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "click_count",
        sa.Column("edition", sa.String(18), primary_key=True),
        sa.Column("article_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("process_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("click_count")
