"""A suppression has a cause of a closed list, which says whether its reader may lift it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "suppression",
        sa.Column("cause", sa.String(length=10), nullable=False, server_default="operator"),
    )
    # Whatever was not written by the program itself was the operator's word.
    op.execute(
        """
        UPDATE suppression SET cause = CASE
            WHEN address IS NULL THEN 'erased'
            WHEN source = 'mail server' AND reason LIKE '% mails in a row: %' THEN 'full'
            WHEN source = 'mail server' THEN 'dead'
            WHEN reason = 'imported as blocked' THEN 'imported'
            ELSE 'operator'
        END
        """
    )


def downgrade() -> None:
    op.drop_column("suppression", "cause")
