"""Runs the migrations on the connection that `newsletter.db.schema.upgrade` provides."""

from alembic import context
from sqlmodel import SQLModel

import newsletter.models  # noqa: F401 - the tables that autogenerate compares with

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run `newsletter database upgrade`: it knows the settings.")
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    timezone=context.config.attributes.get("timezone", "UTC"),
)
with context.begin_transaction():
    context.run_migrations()
