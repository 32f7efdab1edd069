"""Counts of readers and of events by day.

What is there is counted from the consent rows as far as they tell: without the readers who were
erased since, and without the way of a one-click unsubscribe, which was recorded as that of a link.
The rows of subscribers are read as the last of their consents, so that the changes of all days sum
to the readers that there are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

#: The UTC day of an instant, and the present one, by dialect.
_DAY = {
    "sqlite": ("substr({0}, 1, 10)", "date('now')"),
    "postgresql": (
        "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    ),
}
_INTO = "INSERT INTO tally (name, mailing_id, key, change)"
_READERS = """
    WITH recorded AS (
        SELECT subscriber_id, id AS place, 0 AS is_last, {at} AS day,
            cadence || ' ' || status AS became
        FROM consent
        UNION ALL
        SELECT id, 0, 1, {updated_at}, cadence || ' ' || status FROM subscriber
    ), steps AS (
        SELECT day, became,
            lag(became) OVER (PARTITION BY subscriber_id ORDER BY is_last, day, place) AS was
        FROM recorded
    ), moved AS (
        SELECT day, was, became, count(*) AS readers FROM steps
        WHERE was IS NULL OR was <> became GROUP BY day, was, became
    ), changes AS (
        SELECT day || ' ' || became AS key, readers FROM moved
        UNION ALL
        SELECT day || ' ' || was, -readers FROM moved WHERE was IS NOT NULL
    )
    SELECT 'day', 0, key, sum(readers) FROM changes GROUP BY key HAVING sum(readers) <> 0
"""
_EVENTS = """
    SELECT 'event', 0, {at} || ' ' || action || CASE
        WHEN action = 'suppressed' THEN CASE
            WHEN cause = 'complaint' THEN ' complaint'
            WHEN cause IN ('full', 'dead', 'bounce') THEN ' bounce'
            ELSE ' other' END
        WHEN action <> 'unsubscribed' THEN ''
        WHEN source LIKE 'import %' THEN ' import'
        WHEN source = 'unsubscribe link' THEN ' link'
        WHEN source = 'one-click unsubscribe' THEN ' one-click'
        WHEN source IN ('unsubscribe mail', 'report mail') OR source LIKE '% event' THEN ' mail'
        WHEN source = 'api' THEN ' api'
        ELSE ' operator' END AS key, count(*)
    FROM (
        SELECT consent.at, consent.action, consent.source,
            CASE WHEN consent.action = 'suppressed' THEN (
                SELECT suppression.cause FROM suppression
                JOIN subscriber ON subscriber.address = suppression.address
                WHERE subscriber.id = consent.subscriber_id
            ) END AS cause
        FROM consent
    ) AS recorded
    GROUP BY key
"""


def filling(dialect: str) -> list[str]:
    """Return the statements that count what is there."""
    day, _ = _DAY[dialect]
    columns = {"at": day.format("at"), "updated_at": day.format("updated_at")}
    return [f"{_INTO} {query.format(**columns)}" for query in (_READERS, _EVENTS)]


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect != "sqlite":
        # Rows of transactions that have begun before are counted when these are over.
        op.execute("LOCK TABLE subscriber, consent IN SHARE ROW EXCLUSIVE MODE")
    op.create_index("ix_tally_name", "tally", ["name", "key"])
    for statement in filling(dialect):
        op.execute(sa.text(statement))
    op.execute(f"{_INTO} SELECT 'since', 0, {_DAY[dialect][1]}, 1")


def downgrade() -> None:
    op.drop_index("ix_tally_name", "tally")
    op.execute("DELETE FROM tally WHERE name IN ('day', 'event', 'since')")
