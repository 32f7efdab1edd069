"""Tables and columns have the standard names of what they hold; nothing else changes."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TABLES = {"publication": "freeze_lock", "spending": "rate_window"}
_BEFORE, _AFTER = "ix_delivery_lane", "ix_delivery_blocked_domain"


def upgrade() -> None:
    for before, after in _TABLES.items():
        op.rename_table(before, after)
    op.drop_index(_BEFORE, "delivery")
    op.execute("ALTER TABLE delivery RENAME COLUMN lane TO blocked_domain")
    _index(_AFTER, "blocked_domain")


def downgrade() -> None:
    op.drop_index(_AFTER, "delivery")
    op.execute("ALTER TABLE delivery RENAME COLUMN blocked_domain TO lane")
    _index(_BEFORE, "lane")
    for before, after in _TABLES.items():
        op.rename_table(after, before)


def _index(name: str, column: str) -> None:
    # Both engines have the expressions of the other partial indexes follow the column's name.
    op.execute(
        f"CREATE INDEX {name} ON delivery (mailing_id, {column}, due_at, id) "
        f"WHERE {column} IS NOT NULL"
    )
