"""The one spelling of a link, so that two feeds that name the same page name one article."""

from __future__ import annotations

import re

import httpx

#: Longer links are not links (and would not fit into an index of PostgreSQL).
MAX_LINK = 2_000

# Names as A-labels, or addresses; underscores exist.
_HOST = re.compile(rb"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?|[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)
_TRACKING_PREFIXES = ("utm_", "mtm_", "pk_", "hsa_", "at_", "stm_")
_TRACKING = {
    "_ga", "_hsenc", "_hsmi", "campaign_id", "cmpid", "dclid", "fbclid", "gbraid", "gclid",
    "gclsrc", "icid", "igshid", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok", "msclkid", "ncid",
    "oly_anon_id", "oly_enc_id", "rss_id", "s_cid", "spm", "srsltid", "ttclid", "twclid", "vero_id",
    "wbraid", "xtor", "yclid",
}  # fmt: skip


def canonical(text: str, base: str = "") -> str | None:
    """Return an absolute http(s) link without fragment, tracking, user or default port, or None.

    The host comes lower-cased and as A-labels, everything else percent-encoded where needed.
    """
    url = _absolute(text, base)
    if url is None:
        return None
    query = _without_tracking(url.query.decode("ascii")) if url.query else ""
    plain = url.copy_with(
        fragment=None,
        userinfo=None,
        host=url.raw_host.decode("ascii").lower().rstrip("."),
        query=query.encode("ascii") or None,
    )
    # RFC 9110 4.2.3: no path and "/" are the same.
    found = str(plain.copy_with(path="/") if plain.path == "/" else plain)
    return found if len(found) <= MAX_LINK else None


def image(text: str, base: str = "") -> str | None:
    """Return an absolute http(s) address of a picture, its query untouched, or None."""
    url = _absolute(text, base)
    found = str(url.copy_with(fragment=None, userinfo=None)) if url else ""
    return found if 0 < len(found) <= MAX_LINK else None


def host(text: str) -> str | None:
    """Return the host name of a link for people: without `www.`, in its own script."""
    url = _absolute(text, "")
    return url.host.removeprefix("www.") or None if url else None


def is_web(url: httpx.URL) -> bool:
    """Tell whether a URL has a scheme, a host and a port that a request could go to."""
    has_host = url.scheme in {"http", "https"} and _HOST.fullmatch(url.raw_host) is not None
    return has_host and (url.port or 0) < 65_536


def _absolute(text: str, base: str) -> httpx.URL | None:
    text = text.strip()
    if not text or len(text) > 2 * MAX_LINK or not text.isprintable():
        return None
    try:
        url = httpx.URL(base).join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return None
    return url if is_web(url) else None


def _without_tracking(query: str) -> str:
    kept = [part for part in query.split("&") if not _is_tracking(part.partition("=")[0].lower())]
    return "&".join(kept)


def _is_tracking(name: str) -> bool:
    return name in _TRACKING or name.startswith(_TRACKING_PREFIXES)
