"""SQL statements of the ledger that run for every message, set-wise: any number of rows each.

Rows are passed as one JSON array. Passing them one by one would cost a round trip each on
PostgreSQL, and on SQLite a conversion of every parameter.

Statements that change a worker's rows check that the rows are open; after an outcome that leaves
them open, also that the worker still holds them. So a transaction is idempotent if it is repeated
because the reply to its commit was lost. A worker that lost its lease runs none of them
(`holding.Hold.begin`).
"""

from __future__ import annotations

import re

from sqlmodel import Session

from newsletter.db.dialects import Statement
from newsletter.db.engine import is_sqlite
from newsletter.models.delivery import BLOCKED, CLAIMABLE


def _values(of: str) -> tuple[str, str]:
    """Return the SQL that reads a JSON array of values, for SQLite and for PostgreSQL."""
    return (
        f"SELECT value FROM json_each(:{of})",
        f"SELECT value FROM json_array_elements_text(CAST(:{of} AS json))",
    )


def _ids(of: str) -> tuple[str, str]:
    """Return a condition on ids in a JSON array for which both planners use the index."""
    return (
        f"IN (SELECT value FROM json_each(:{of}))",
        # PostgreSQL's planner estimates few elements for an array, but many rows for a function.
        f"= ANY(CAST(translate(:{of}, '[]', '{{}}') AS bigint[]))",
    )


def _table(**columns: str) -> tuple[str, str]:
    """Return the SQL that reads the JSON array `rows`, with these columns of these types."""
    sqlite = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(columns))
    postgresql = ", ".join(
        f"CAST(value->>{i} AS {kind}) AS {name}" for i, (name, kind) in enumerate(columns.items())
    )
    return (
        f"SELECT {sqlite} FROM json_each(:rows)",
        f"SELECT {postgresql} FROM json_array_elements(CAST(:rows AS json))",
    )


def _statement(
    sql: str, array: tuple[str, str] = ("", ""), ids: tuple[str, str] = ("", "")
) -> Statement:
    """Build a statement: braces enclose SQL for PostgreSQL only.

    `[]` is replaced by the array, and `[ids]` by a condition on ids.
    """
    return Statement(
        sqlite=_POSTGRESQL_ONLY.sub("", sql).replace("[]", array[0]).replace("[ids]", ids[0]),
        postgresql=_POSTGRESQL_ONLY.sub(r"\1", sql)
        .replace("[]", array[1])
        .replace("[ids]", ids[1]),
    )


# PostgreSQL estimates 100 rows for a function, and then scans a table of some 10,000 rows instead
# of using the index; for an array it estimates 10.
_ROW_OF_V = "delivery.id = v.id {AND delivery.id = ANY(ARRAY(SELECT id FROM ([]) AS w))}"
_POSTGRESQL_ONLY = re.compile(r"{(.*?)}")
_OPEN = "delivery.state IN ('queued', 'deferred')"
_HELD = (
    "IN (SELECT value FROM holding, json_each(ids) WHERE worker_id = :worker)",
    """= ANY(ARRAY(
        SELECT CAST(json_array_elements_text(ids) AS bigint) FROM holding WHERE worker_id = :worker
    ))""",
)
_ARRIVED = "EXISTS (SELECT 1 FROM attempt WHERE delivery_id = delivery.id AND outcome = 'unknown')"


# The columns of a claim, in the order of `queue.Claim`.
_CLAIM_COLUMNS = (
    "id, mailing_id, address, reference, generation, since_at, created_at, attempts, priority"
)


class Transition:
    """A statement that moves rows to other states, and counts them (see `newsletter.tally`).

    Parameters: `worker`, whose rows of counts are updated, or None to add rows; `ids`, a JSON array
    of delivery ids; `rows`, a JSON array of their values `v`. The new state depends on the latest
    version of a row. On SQLite, a preceding statement under the write lock counts the rows. On
    PostgreSQL, one statement first locks the rows, as other transactions may change them.
    """

    def __init__(
        self,
        state: str,
        values: str,
        where: str,
        *,
        rows: tuple[str, str],
        reply: str = "NULL",
        has_constant_state: bool = False,
        is_returning: bool = False,
    ) -> None:
        # The join is omitted if possible, because parsing `v` costs more than reading the rows.
        beside = "" if has_constant_state else "JOIN ([]) AS v ON v.id = delivery.id"
        found = f"WHERE delivery.id [ids] AND {where}"
        changes = f"UPDATE delivery SET state = {state}, {values} FROM ([]) AS v"
        moved = f"""
        WITH moved AS (
            SELECT
                mailing_id, delivery.state AS old, {state} AS new, {reply} AS reply,
                count(*) AS rows
            FROM delivery {beside} {found} GROUP BY 1, 2, 3, 4
        )
        """
        changed = f"""
        WITH before AS (
            SELECT id, state FROM delivery {found} ORDER BY id FOR NO KEY UPDATE
        ), changed AS (
            {changes}, before WHERE delivery.id = v.id AND delivery.id = before.id
            RETURNING
                delivery.id, delivery.mailing_id, before.state AS old, delivery.state AS new,
                {reply} AS reply
        ), moved AS (
            SELECT mailing_id, old, new, reply, count(*) AS rows FROM changed GROUP BY 1, 2, 3, 4
        ), counted AS ({_COUNTED})
        SELECT id FROM changed
        """
        returning = " RETURNING delivery.id" if is_returning else ""
        self._counting = _transition(moved + _COUNTED, rows)
        self._changing = _transition(
            f"{changes} WHERE {_ROW_OF_V} AND {where}{returning}", rows, changed
        )

    def run(self, session: Session, **parameters: object) -> set[int]:
        """Execute the statement; return the ids of the changed rows if it `is_returning`."""
        if is_sqlite(session.connection()):
            self._counting.change(session, **parameters)
        return {one for (one,) in self._changing.run(session, **parameters)}


def _transition(sqlite: str, rows: tuple[str, str], postgresql: str = "") -> Statement:
    return Statement(
        **{
            engine: _POSTGRESQL_ONLY.sub("", sql)
            .replace("[]", rows[i])
            .replace("[ids]", _ids("ids")[i])
            .replace("[held]", _HELD[i])
            for i, (engine, sql) in enumerate({"sqlite": sqlite, "postgresql": postgresql}.items())
        }
    )


_COUNTED = """
    INSERT INTO tally (worker_id, name, mailing_id, key, change)
    SELECT CAST(:worker AS bigint), name, mailing_id, key, sum(change) FROM (
        SELECT 'delivery' AS name, mailing_id, old AS key, -rows AS change FROM moved
        UNION ALL SELECT 'delivery', mailing_id, new, rows FROM moved
        UNION ALL SELECT 'ended', mailing_id, new, rows FROM moved
            WHERE new = 'unknown' AND old <> 'unknown'
        UNION ALL SELECT 'reply', 0, reply, rows FROM moved WHERE reply IS NOT NULL
    ) AS part
    GROUP BY name, mailing_id, key HAVING sum(change) <> 0
    ON CONFLICT (worker_id, name, mailing_id, key)
    DO UPDATE SET change = tally.change + excluded.change
"""


def _batch(rows: str) -> Statement:
    return _statement(
        f"""
        SELECT [] FROM (
            SELECT * FROM delivery WHERE {rows} AND mailing_id = :mailing AND due_at <= :now
                AND reason IS NULL AND id NOT IN (SELECT delivery_id FROM held) AND NOT id [ids]
            ORDER BY due_at, id LIMIT :limit
        ) AS batch
        """,
        (
            f"json_group_array(json_array({_CLAIM_COLUMNS}))",
            f"CAST(json_agg(json_build_array({_CLAIM_COLUMNS})) AS text)",
        ),
        _ids("seen"),
    )


# A batch is returned as one JSON value: sqlite3 releases the GIL between rows, and a busy event
# loop then keeps it.
BATCH = _batch(CLAIMABLE)
BATCH_OF_DOMAIN = _batch(f"{BLOCKED} AND blocked_domain = :blocked_domain")
# A loose index scan over the blocked domains, whose cost does not depend on the rows in each.
BLOCKED_DOMAINS = _statement(
    f"""
    WITH RECURSIVE domains(blocked_domain) AS (
        SELECT min(blocked_domain) FROM delivery
        WHERE {BLOCKED} AND mailing_id = :mailing AND blocked_domain > :after
        UNION ALL
        SELECT (
            SELECT min(blocked_domain) FROM delivery
            WHERE {BLOCKED} AND mailing_id = :mailing AND blocked_domain > domains.blocked_domain
        ) FROM domains WHERE domains.blocked_domain IS NOT NULL
    )
    SELECT blocked_domain FROM domains WHERE blocked_domain IS NOT NULL LIMIT :limit
    """
)
SUPPRESSED = _statement(
    "SELECT address, cause FROM suppression WHERE address IN ([])", _values("addresses")
)
# The mailings that are confirm letters (double opt-in).
ASKING = _statement("SELECT id FROM mailing WHERE id [] AND kind = 'confirm'", _ids("mailings"))
# The domains that have a row in `pace`.
PACED = _statement("SELECT key FROM pace WHERE key IN ([])", _values("domains"))
# The rows are locked until the commit, so that another transaction ends a row either before, or
# finds it in flight. A lock creates no new version of the row.
MARKED = _statement(
    f"""
    SELECT [] FROM (
        SELECT id FROM delivery
        WHERE id [ids] AND {_OPEN} AND reason IS NULL {{ORDER BY id FOR NO KEY UPDATE}}
    ) AS locked
    """,
    ("json_group_array(id)", "CAST(json_agg(id) AS text)"),
    _ids("ids"),
)
# No reply is stored for a reader who was erased meanwhile, as it may contain their address.
_REPLY = "CASE WHEN delivery.address <> '' THEN v.reply END"
ACCEPT = Transition(
    "'accepted'",
    f"""
    state_at = :now, blocked_domain = NULL, reason = NULL,
    attempts = attempts + 1, code = v.code, enhanced = v.enhanced, reply = {_REPLY}
    """,
    _OPEN,
    reply="'body accepted nothing'",
    rows=_table(id="bigint", code="smallint", enhanced="text", reply="text"),
    has_constant_state=True,
)
# Rows that another transaction is changing are skipped, so that claims never wait.
UNLOCKED = _statement(
    "SELECT id FROM delivery WHERE id [] {FOR NO KEY UPDATE SKIP LOCKED}", _ids("ids")
)
BLOCK = _statement(
    f"""
    UPDATE delivery SET blocked_domain = v.blocked_domain, state_at = :now
    FROM ([]) AS v
    WHERE {_ROW_OF_V} AND {_OPEN}
        AND COALESCE(delivery.blocked_domain, '') <> COALESCE(v.blocked_domain, '')
    """,
    _table(id="bigint", blocked_domain="text"),
)
LOCK = _statement(
    "SELECT id FROM delivery WHERE id [] {ORDER BY id FOR NO KEY UPDATE}", _ids("ids")
)
_TRIED = _table(
    id="bigint", code="smallint", enhanced="text", reply="text", outcome="text", phase="text",
    state="text", is_open="boolean", is_unrefused="boolean", last_state="text",
    due_at="timestamptz", charged="smallint", reaction="text",
)  # fmt: skip
# Runs before MOVED, on the same condition, so a repeated transaction writes no attempt twice.
ATTEMPTED = _statement(
    f"""
    INSERT INTO attempt (delivery_id, number, at, outcome, phase, code, enhanced, reply)
    SELECT
        delivery.id, delivery.attempts + 1, :now, v.outcome, v.phase, v.code, v.enhanced, {_REPLY}
    FROM ([]) AS v JOIN delivery ON {_ROW_OF_V}
    WHERE {_OPEN} AND delivery.id [ids]
    """,
    _TRIED,
    _HELD,
)
# The three cases of a row: it is tried again; it ends and may have arrived; it ends without having
# arrived.
MOVED = Transition(
    f"""
    CASE
        WHEN reason IS NULL AND v.is_open THEN v.state
        WHEN v.is_unrefused AND {_ARRIVED} THEN 'unknown'
        ELSE v.last_state
    END
    """,
    f"""
    due_at = v.due_at, state_at = :now, attempts = attempts + v.charged, blocked_domain = NULL,
    code = v.code, enhanced = v.enhanced, reply = {_REPLY}
    """,
    f"{_OPEN} AND delivery.id [held]",
    reply="v.phase || ' ' || v.outcome || ' ' || v.reaction",
    rows=_TRIED,
)
STORE_IN_FLIGHT = _statement("UPDATE worker SET in_flight = :ids WHERE id = :worker")
STORE_HOLDING = _statement("UPDATE holding SET ids = :ids WHERE worker_id = :worker")
HOLDING = _statement("SELECT CAST(ids AS text) FROM holding WHERE worker_id = :worker")
FIND = _statement(
    """
    SELECT v.mailing, v.reference, delivery.id, delivery.state
    FROM ([]) AS v
    JOIN mailing ON mailing.public_id = v.mailing
    JOIN delivery ON delivery.mailing_id = mailing.id AND delivery.reference = v.reference
    """,
    _table(mailing="text", reference="text"),
)
RECONCILE = Transition(
    "'accepted'",
    "state_at = :now, reason = NULL, code = 250, enhanced = NULL, reply = v.reply",
    "delivery.state = 'unknown'",
    rows=_table(id="bigint", reply="text"),
    has_constant_state=True,
    is_returning=True,
)


def row_count(result: object) -> int:
    """Return how many rows a statement changed."""
    found: int = getattr(result, "rowcount", -1)
    # The sqlite3 module does not count rows of a statement that begins with WITH.
    assert found >= 0, "this statement's rows were not counted"
    return found
