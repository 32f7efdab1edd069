"""What a worker has claimed, and what is in flight, stands with the worker, not in each delivery.

A send that was stopped half-way keeps both: its worker's rows are taken over as those of any that
crashed. A worker that held rows without being registered gets a registration that has expired.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Workers that hold rows without being registered.
_DELETED = """
    INSERT INTO worker (id, name, kind, host, pid, started_at, lease_until)
    SELECT worker_id, 'deleted ' || CAST(worker_id AS TEXT), 'worker', '', 0,
        '2000-01-01 00:00:00', '2000-01-01 00:00:00'
    FROM (SELECT DISTINCT worker_id FROM delivery WHERE worker_id IS NOT NULL) AS holders
    WHERE worker_id NOT IN (SELECT id FROM worker)
"""
_IN_FLIGHT = """
    UPDATE worker SET in_flight = (
        SELECT COALESCE({array}(id), '[]') FROM delivery
        WHERE worker_id = worker.id AND state = 'in_flight'
    )
"""
_HOLDING = """
    INSERT INTO holding (worker_id, ids)
    SELECT id, (SELECT COALESCE({array}(id), '[]') FROM delivery WHERE worker_id = worker.id)
    FROM worker WHERE kind = 'worker'
"""
_SQLITE_VIEWS = (
    "CREATE VIEW held AS SELECT value AS delivery_id FROM holding, json_each(ids)",
    "CREATE VIEW in_flight AS SELECT value AS delivery_id FROM worker, json_each(in_flight)",
)
# The planner estimates ten rows for an array, and hundreds for a function of each row.
_POSTGRESQL_VIEWS = (
    """
    CREATE VIEW held AS SELECT unnest(ARRAY(
        SELECT CAST(json_array_elements_text(ids) AS bigint) FROM holding
    )) AS delivery_id
    """,
    """
    CREATE VIEW in_flight AS SELECT unnest(ARRAY(
        SELECT CAST(json_array_elements_text(in_flight) AS bigint) FROM worker
    )) AS delivery_id
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.add_column("worker", sa.Column("in_flight", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "holding",
        sa.Column("worker_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("worker_id"),
    )
    op.execute(_DELETED)
    for statement in (_IN_FLIGHT, _HOLDING):
        op.execute(statement.format(array="json_group_array" if is_sqlite else "json_agg"))
    op.execute("UPDATE delivery SET state = 'queued' WHERE worker_id IS NOT NULL")
    op.drop_index("ix_delivery_held", "delivery")
    op.execute("ALTER TABLE delivery DROP COLUMN worker_id")
    for view in _SQLITE_VIEWS if is_sqlite else _POSTGRESQL_VIEWS:
        op.execute(view)


def downgrade() -> None:
    op.execute("DROP VIEW held")
    op.execute("DROP VIEW in_flight")
    op.add_column("delivery", sa.Column("worker_id", sa.BigInteger(), nullable=True))
    rows = sa.text("worker_id IS NOT NULL")
    op.create_index(
        "ix_delivery_held", "delivery", ["worker_id"], sqlite_where=rows, postgresql_where=rows
    )
    _give_back("holding", "worker_id", "ids", "claimed")
    _give_back("worker", "id", "in_flight", "in_flight")
    op.drop_table("holding")
    with op.batch_alter_table("worker") as worker:
        worker.drop_column("in_flight")


def _give_back(table: str, worker: str, column: str, state: str) -> None:
    found = op.get_bind().execute(
        sa.select(sa.column(worker), sa.column(column, sa.JSON())).select_from(sa.table(table))
    )
    names = ("id", "state", "worker_id", "blocked_domain")
    rows = sa.table("delivery", *map(sa.column, names))
    for worker_id, ids in found.all():
        op.execute(
            sa.update(rows)
            .where(rows.c.id.in_(ids), rows.c.state.in_(("queued", "deferred", "claimed")))
            .values(state=state, worker_id=worker_id, blocked_domain=None)
        )
