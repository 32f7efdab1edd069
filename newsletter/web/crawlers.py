"""Programs that name themselves in their User-Agent, by the list of `crawler-user-agents`."""

from __future__ import annotations

from functools import lru_cache

#: Maximum characters of a User-Agent that are compared with the list; the longest real ones have
#: about 300.
_LONGEST = 512


def is_crawler(agent: str) -> bool:
    """Return whether a User-Agent is that of a known crawler, link preview or command-line tool."""
    return _is_known(agent[:_LONGEST])


# Cached, because most readers have one of few browsers, and a look takes a fifth of a millisecond.
@lru_cache(maxsize=1_024)
def _is_known(agent: str) -> bool:
    # Imported late, because it reads a file of half a megabyte.
    from crawleruseragents import is_crawler  # noqa: PLC0415

    return bool(is_crawler(agent))
