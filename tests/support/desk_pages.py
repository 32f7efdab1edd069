"""Every page of the desk, by its routes, at a publication of `seeding`."""

from __future__ import annotations

import re
from datetime import datetime

import seeding

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.desk import app

#: What is no page of its own: a mail in a frame, a file, and what needs a sheet that was sent; and
#: the plan of an announcement, which counts its readers as a freeze selects them.
_NO_PAGES = re.compile(r"/mail$|\.csv$|/export$|\{upload_id\}|^/compose/\{number\}/send$")


def paths(now: datetime) -> list[str]:
    """Return the paths of all pages; a route with a parameter that is not known here is an error.

    A page of one thing is that of the newest edition, or of one of the first readers.
    """
    cadence, at = next(seeding.due(now))
    known = {
        "public_id": "reader1000000005",
        "feed_id": "1",
        "row_id": "1",
        "article": "12",
        "article_id": "12",
        "number": "1",
        "cadence": Cadence.WEEKLY.value,
        "slug": cadences.slug(cadence, at.date()),
    }
    return [
        route.path.format(**known)
        for route in app.page_routes()
        if "GET" in route.methods and not _NO_PAGES.search(route.path)
    ]
