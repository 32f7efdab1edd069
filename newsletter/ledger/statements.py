"""The ledger's statements that run for every message, each with one array for any number of rows.

Row by row would be a round trip each on PostgreSQL, and on SQLite a conversion of every parameter.
"""

from __future__ import annotations

import re

from newsletter.db.dialects import Statement
from newsletter.models.delivery import BLOCKED, CLAIMABLE


def _values(of: str) -> tuple[str, str]:
    """Spell out a JSON array of values for both engines."""
    return (
        f"SELECT value FROM json_each(:{of})",
        f"SELECT value FROM json_array_elements_text(CAST(:{of} AS json))",
    )


def _ids(of: str) -> tuple[str, str]:
    """Spell out which ids a JSON array has, so that both engines look each of them up."""
    return (
        f"IN (SELECT value FROM json_each(:{of}))",
        # Of an array PostgreSQL expects a few ids, of a function's rows many.
        f"= ANY(CAST(translate(:{of}, '[]', '{{}}') AS bigint[]))",
    )


def _table(**columns: str) -> tuple[str, str]:
    """Spell out the JSON array `rows` of arrays, with these columns of these types."""
    sqlite = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(columns))
    postgresql = ", ".join(
        f"CAST(value->>{i} AS {kind}) AS {name}" for i, (name, kind) in enumerate(columns.items())
    )
    return (
        f"SELECT {sqlite} FROM json_each(:rows)",
        f"SELECT {postgresql} FROM json_array_elements(CAST(:rows AS json))",
    )


def _statement(sql: str, array: tuple[str, str] = ("", "")) -> Statement:
    """Write a statement with `[]` for its array, and what PostgreSQL alone needs in braces."""
    sqlite, postgresql = array
    return Statement(
        sqlite=_POSTGRESQL_ONLY.sub("", sql).replace("[]", sqlite),
        postgresql=_POSTGRESQL_ONLY.sub(r"\1", sql).replace("[]", postgresql),
    )


# PostgreSQL expects a hundred rows of a function, and would rather read a whole table of some ten
# thousand than look each of them up; of an array it expects ten.
_THEIR_ROW = "delivery.id = v.id {AND delivery.id = ANY(ARRAY(SELECT id FROM ([]) AS w))}"
_POSTGRESQL_ONLY = re.compile(r"{(.*?)}")
# With the sign, no index serves it: rows are looked up by their ids, not by who has a hand full.
_MINE = "+delivery.worker_id = :worker"
_ARRIVED = "EXISTS (SELECT 1 FROM attempt WHERE delivery_id = delivery.id AND outcome = 'unknown')"


# What a claim tells of each row, in the order of `ledger.Claim`.
_TOLD = "id, mailing_id, address, reference, generation, since_at, created_at, attempts, priority"


def _batch(rows: str) -> Statement:
    return _statement(
        f"""
        SELECT [] FROM (
            SELECT * FROM delivery WHERE {rows} AND mailing_id = :mailing AND due_at <= :now
            ORDER BY due_at, id LIMIT :limit {{FOR UPDATE SKIP LOCKED}}
        ) AS batch
        """,
        (
            f"json_group_array(json_array({_TOLD}))",
            f"CAST(json_agg(json_build_array({_TOLD})) AS text)",
        ),
    )


# A batch is one value, not a row each: between two rows sqlite3 lets go of the interpreter, and the
# event loop keeps it for as long as it has something to do.
BATCH = _batch(CLAIMABLE)
BATCH_OF_DOMAIN = _batch(f"{BLOCKED} AND blocked_domain = :blocked_domain")
CLAIM = _statement(
    """
    UPDATE delivery SET
        state = 'claimed', worker_id = :worker, state_at = :now, blocked_domain = NULL
    WHERE id []
    """,
    _ids("ids"),
)
# From one blocked domain to the next by the index, however much waits in each.
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
# Letters that ask for a consent.
ASKING = _statement("SELECT id FROM mailing WHERE id [] AND kind = 'confirm'", _ids("mailings"))
# A domain that had trouble with us, or that has a pace for another reason.
PACED = _statement("SELECT key FROM pace WHERE key IN ([])", _values("domains"))
MARK = _statement(
    f"""
    UPDATE delivery SET state = 'in_flight', state_at = :now
    WHERE id []
        AND {_MINE} AND reason IS NULL
    """,
    _ids("ids"),
)
# Held until the commit: nobody ends a row in between that is answered for.
MARKED = _statement(
    f"""
    SELECT id FROM delivery
    WHERE id [] AND {_MINE} AND reason IS NULL AND state = 'in_flight'
    {{FOR UPDATE}}
    """,
    _ids("ids"),
)
CANCEL_MARKED = _statement(
    f"""
    UPDATE delivery SET state_at = :now, worker_id = NULL,
        state = CASE WHEN {_ARRIVED} THEN 'unknown' ELSE 'cancelled' END
    WHERE id []
        AND {_MINE} AND reason IS NOT NULL
    """,
    _ids("ids"),
)
ACCEPT = _statement(
    f"""
    UPDATE delivery SET state = 'accepted', state_at = :now, worker_id = NULL, reason = NULL,
        attempts = attempts + 1, code = v.code, enhanced = v.enhanced, reply = v.reply
    FROM ([]) AS v
    WHERE {_THEIR_ROW} AND state = 'in_flight' AND {_MINE}
    """,
    _table(id="bigint", code="smallint", enhanced="text", reply="text"),
)
PUT_BACK = _statement(
    f"""
    UPDATE delivery SET
        state = 'queued', blocked_domain = v.blocked_domain, state_at = :now, worker_id = NULL
    FROM ([]) AS v
    WHERE {_THEIR_ROW} AND state = 'claimed' AND {_MINE}
    """,
    _table(id="bigint", blocked_domain="text"),
)
_TRIED = _table(
    id="bigint", code="smallint", enhanced="text", reply="text", outcome="text", phase="text",
    state="text", goes_on="boolean", is_unsaid="boolean", last_state="text",
    due_at="timestamptz", charged="smallint",
)  # fmt: skip
# Before the row changes, and only for a row that will: so a commit that is repeated because its
# answer was lost writes no attempt twice.
ATTEMPTED = _statement(
    f"""
    INSERT INTO attempt (delivery_id, number, at, outcome, phase, code, enhanced, reply)
    SELECT delivery.id, delivery.attempts + 1, :now, v.outcome, v.phase, v.code, v.enhanced, v.reply
    FROM ([]) AS v JOIN delivery ON {_THEIR_ROW}
    WHERE {_MINE}
    """,
    _TRIED,
)
# Three ends: it goes on; it is over, and it may have arrived; it is over, and has not.
MOVED = _statement(
    f"""
    UPDATE delivery SET
        state = CASE
            WHEN reason IS NULL AND v.goes_on THEN v.state
            WHEN v.is_unsaid AND {_ARRIVED} THEN 'unknown'
            ELSE v.last_state
        END,
        due_at = v.due_at, state_at = :now, attempts = attempts + v.charged, worker_id = NULL,
        code = v.code, enhanced = v.enhanced, reply = v.reply
    FROM ([]) AS v
    WHERE {_THEIR_ROW} AND {_MINE}
    """,
    _TRIED,
)
# A relay's log names every message that it has taken.
FIND = _statement(
    """
    SELECT v.mailing, v.reference, delivery.id, delivery.state
    FROM ([]) AS v
    JOIN mailing ON mailing.public_id = v.mailing
    JOIN delivery ON delivery.mailing_id = mailing.id AND delivery.reference = v.reference
    """,
    _table(mailing="text", reference="text"),
)
RECONCILE = _statement(
    f"""
    UPDATE delivery SET state = 'accepted', state_at = :now, reason = NULL,
        code = 250, enhanced = NULL, reply = v.reply
    FROM ([]) AS v
    WHERE {_THEIR_ROW} AND state = 'unknown'
    RETURNING delivery.id
    """,
    _table(id="bigint", reply="text"),
)
