"""`newsletter database upgrade` where there is nothing to upgrade."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from terminal import Run


def test_counts_that_are_wrong_are_named_and_corrected(run: Run) -> None:
    assert run("subscribers", "add", "ann@example.com", "--cadence", "weekly").code == 0
    assert "wrong" not in run("database", "upgrade").out
    with closing(sqlite3.connect("newsletter.db")) as database, database:
        database.execute("UPDATE subscriber SET status = 'paused'")

    said = run("database", "upgrade").out

    assert "The count of reader rows 'weekly active' was wrong by +1; it is corrected." in said
    assert "The count of reader rows 'weekly paused' was wrong by -1; it is corrected." in said
    assert "wrong" not in run("database", "upgrade").out
