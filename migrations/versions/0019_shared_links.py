"""Articles of one feed may share a link; a feed's names for another feed's article are kept."""

import re
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_GUIDS = "CONSTRAINT uq_article_feed_guid UNIQUE (feed_id, guid)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(lambda sql: re.sub(r",\s*UNIQUE \(link\)", "", sql))
    else:
        # The first version gave it no name: this is the one that PostgreSQL made.
        op.drop_constraint("article_link_key", "article", type_="unique")
    op.create_index("ix_article_link", "article", ["link"])
    op.create_table(
        "article_alias",
        sa.Column(
            "feed_id",
            sa.BigInteger(),
            sa.ForeignKey("feed.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column(
            "article_id",
            sa.BigInteger(),
            sa.ForeignKey("article.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("guid", sa.String(), nullable=True),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
    )
    op.create_index("ix_article_alias_link", "article_alias", ["link"])


def downgrade() -> None:
    op.drop_table("article_alias")
    op.drop_index("ix_article_link", "article")
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(lambda sql: sql.replace(_GUIDS, f"{_GUIDS}, UNIQUE (link)"))
    else:
        op.create_unique_constraint("article_link_key", "article", ["link"])


def _make_anew(change: Callable[[str], str]) -> None:
    """Replace SQLite's table by one of another definition, with the same rows and indexes.

    SQLite drops no constraint otherwise. Rows of other tables refer to articles all the while, so
    that is checked at the end of the transaction, by which time all are back.
    """
    connection = op.get_bind()
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    made = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'article' AND sql IS NOT NULL "
        "ORDER BY type DESC"
    ).scalars()
    table, *indexes = made.all()
    connection.exec_driver_sql("CREATE TABLE article_kept AS SELECT * FROM article")
    connection.exec_driver_sql("DROP TABLE article")
    connection.exec_driver_sql(change(table))
    connection.exec_driver_sql("INSERT INTO article SELECT * FROM article_kept")
    connection.exec_driver_sql("DROP TABLE article_kept")
    for index in indexes:
        connection.exec_driver_sql(index)
