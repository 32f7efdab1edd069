"""What an editor changes of the next mails, and indexes for the desk's pages."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_REFUSED = sa.text("state = 'refused'")


def upgrade() -> None:
    for name in ("mail_title", "mail_standfirst"):
        op.add_column("article", sa.Column(name, sa.String(), nullable=True))
    op.create_table(
        "article_order",
        sa.Column("cadence", sa.String(8), primary_key=True),
        sa.Column("article_ids", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index(
        "ix_delivery_refused",
        "delivery",
        ["mailing_id", "code", "enhanced"],
        sqlite_where=_REFUSED,
        postgresql_where=_REFUSED,
    )
    op.create_index("ix_consent_action_at", "consent", ["action", "at"])


def downgrade() -> None:
    op.drop_index("ix_consent_action_at", "consent")
    op.drop_index("ix_delivery_refused", "delivery")
    op.drop_table("article_order")
    for name in ("mail_standfirst", "mail_title"):
        op.execute(f"ALTER TABLE article DROP COLUMN {name}")
