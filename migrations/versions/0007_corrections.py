"""A mailing keeps how its articles were called and linked, and may correct one of an edition."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("title", "link"):
        op.add_column(
            "mailing_article", sa.Column(name, sa.String(), nullable=False, server_default="")
        )
        # What it was called then is not known of those that were edited since: only in the bytes.
        op.execute(
            f"UPDATE mailing_article SET {name} = "
            f"(SELECT {name} FROM article WHERE article.id = mailing_article.article_id)"
        )
    # Both engines can do this, and Alembic only on one of them.
    op.execute("ALTER TABLE mailing ADD COLUMN corrects_id BIGINT REFERENCES edition (id)")
    op.create_index("ix_mailing_corrects_id", "mailing", ["corrects_id"])
    # Corrections come between letters and digests.
    op.execute(
        "UPDATE delivery SET priority = 2 WHERE priority = 1 AND state IN ('queued', 'deferred')"
    )


def downgrade() -> None:
    op.drop_index("ix_mailing_corrects_id", "mailing")
    op.drop_column("mailing", "corrects_id")
    for name in ("link", "title"):
        op.drop_column("mailing_article", name)
