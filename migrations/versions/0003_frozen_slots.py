"""What a mailing's slots are written with is kept with it."""

import re
from email import message_from_bytes
from email.utils import parseaddr

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LANGUAGE = re.compile(r'<html[^>]* lang="([^"]{1,35})"')


def upgrade() -> None:
    # No mail says which zone its dates were written in: until now it was that of the settings.
    timezone = op.get_context().opts["timezone"]
    for name, length, before in (
        ("domain", 253, "localhost"),
        ("timezone", 64, timezone),
        ("language", 35, "en"),
        # None in particular: the newest.
        ("signing_key", 8, ""),
    ):
        op.add_column(
            "mailing", sa.Column(name, sa.String(length), nullable=False, server_default=before)
        )
    _fill()


def _fill() -> None:
    """Read domain and language from what was frozen: rows of these mailings may yet be sent."""
    mailing = sa.table("mailing", *map(sa.column, ("id", "body", "html", "domain", "language")))
    connection = op.get_bind()
    ids = connection.execute(sa.select(mailing.c.id)).scalars().all()
    for one in ids:
        chosen = mailing.c.id == one
        row = connection.execute(sa.select(mailing.c.body, mailing.c.html).where(chosen)).one()
        sender = parseaddr(message_from_bytes(bytes(row.body))["From"] or "")[1]
        language = _LANGUAGE.search(row.html)
        connection.execute(
            sa.update(mailing)
            .where(chosen)
            .values(
                domain=sender.rpartition("@")[2] or "localhost",
                language=language[1] if language else "en",
            )
        )


def downgrade() -> None:
    for name in ("domain", "timezone", "language", "signing_key"):
        op.drop_column("mailing", name)
