"""Canonical links: two feeds that link the same page have the same article."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

import idna

if TYPE_CHECKING:
    import httpx

#: Maximum characters of a link; a longer one would not fit into an index of PostgreSQL.
MAX_LINK = 2_000

# Limits of RFC 1035 3.1. They bound punycode too, which is quadratic in the length.
_MAX_HOST, _MAX_LABEL = 253, 63
_MOVED = re.compile(r"https?://(?:www\.)?")
_PORTS = {"http": 80, "https": 443}
# Host names with A-labels, or IP addresses; some host names have underscores.
_HOST = re.compile(rb"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?|[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"((?:https?:)?//(?:[^/?#@]*@)?)([^/?#@:]*)(.*)", re.IGNORECASE | re.DOTALL)
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
# Control characters, removed anywhere in a link, as browsers remove tabs and line breaks (WHATWG
# URL 4.4).
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Soft hyphens and zero-width characters. UTS 46 ignores them in host names; in paths they are
# significant, as Persian words need them.
_ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
# Invisible characters around a link.
_BLANK = "".join(
    mark
    for mark in [*map(chr, range(0x3001)), "\ufeff"]
    if mark.isspace() or unicodedata.category(mark) in {"Cc", "Cf"}
)
# Names of tracking parameters; only those that no known system uses to select a page.
_TRACKING = re.compile(
    r"utm_\w+|_ga|_gl|_hsenc|_hsmi|__hs\w+|hsa_(?:acc|ad|cam|grp|kw|la|mt|net|ol|src|tgt|ver)|"
    r"(?:mtm|matomo|pk|piwik)_(?:campaign|cid|content|group|keyword|kwd|medium|placement|source)|"
    r"at_(?:bbc_team|campaign|creation|custom\d|format|link_(?:id|origin|type)|medium|ptr_name)|"
    r"stm_(?:campaign|content|medium|source|term)|mc_[ce]id|ml_subscriber(?:_hash)?|"
    r"fbclid|gad_(?:source|campaignid)|gclid|gclsrc|gbraid|wbraid|dclid|msclkid|ttclid|twclid|yclid|ysclid|igshid|li_fat_id|"
    r"mkt_tok|oly_(?:anon|enc)_id|srsltid|vero_(?:conv|id)|xtor",
    re.ASCII | re.IGNORECASE,
)
# Medium puts the feed's name into `source`, so one story has a different link in each feed.
_MEDIUM = re.compile(r"source=rss-[\w-]*", re.ASCII)


def canonical(text: str, base: str = "", *, strip_tracking: bool = True) -> str | None:
    """Return an absolute http(s) link without tracking, user or default port, or None.

    The host is lower-case with A-labels, everything else percent-encoded where needed. The fragment
    is kept: the entries of a changelog differ only in it.
    """
    url = _absolute(text, base)
    if url is None:
        return None
    query = _query(url.query.decode("ascii"), strip_tracking=strip_tracking)
    # `copy_with` is not used: httpx would parse the whole URL again for each part.
    found = f"{url.scheme}://{_netloc(url)}{url.raw_path.partition(b'?')[0].decode('ascii') or '/'}"
    found += f"?{query.decode()}" if query else ""
    fragment = _query(str(url).partition("#")[2], strip_tracking=strip_tracking)
    found += f"#{fragment.decode()}" if fragment else ""
    return found if len(found) <= MAX_LINK else None


def page(canonical_link: str) -> str:
    """Return a canonical link without its fragment."""
    return canonical_link.partition("#")[0]


def place(canonical_link: str) -> str:
    """Return a link without scheme, `www.`, trailing slash and fragment."""
    head, question_mark, query = page(canonical_link).partition("?")
    return _MOVED.sub("", head).rstrip("/") + question_mark + query


def spellings(canonical_link: str) -> set[str]:
    """Return all links with the same `place`, without fragments."""
    head, question_mark, query = place(canonical_link).partition("?")
    return {
        f"{scheme}://{www}{head}{slash}{question_mark}{query}"
        for scheme in _PORTS
        for www in ("", "www.")
        for slash in ("", "/")
    }


def is_route(canonical_link: str) -> bool:
    """Return whether the fragment identifies the page, as in single-page applications."""
    return canonical_link.partition("#")[2].startswith(("/", "!"))


def with_parameters(canonical_link: str, parameters: str) -> str:
    """Return a link with query parameters (`a=1&b=2`), which replace those of the same names."""
    if not parameters:
        return canonical_link
    head, hash_sign, fragment = canonical_link.partition("#")
    address, _, query = head.partition("?")
    own = {_name(one) for one in parameters.split("&")}
    kept = [one for one in query.split("&") if one and _name(one) not in own]
    return f"{address}?{'&'.join([*kept, parameters])}{hash_sign}{fragment}"


def image(text: str, base: str = "") -> str | None:
    """Return the absolute http(s) URL of a picture, with its query unchanged, or None."""
    url = _absolute(text, base)
    found = str(url.copy_with(fragment=None, userinfo=None)) if url else ""
    return found if 0 < len(found) <= MAX_LINK else None


def host(text: str) -> str | None:
    """Return the host name of a link for display: without `www.`, with U-labels.

    A name that IDNA 2008 does not allow (RFC 5891) is shown unchanged.
    """
    url = _absolute(text, "")
    if url is None:
        return None
    name = url.raw_host.decode("ascii").lower()
    with contextlib.suppress(UnicodeError):
        name = idna.decode(name) if "xn--" in name else name
    return name.removeprefix("www.") or None


def masked(source: str) -> str:
    """Return a feed's source for display, without user and password."""
    scheme, separator, rest = source.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else source


def is_web(url: httpx.URL) -> bool:
    """Return whether a URL has an http(s) scheme, a valid host and a valid port."""
    has_host = url.scheme in {"http", "https"} and _HOST.fullmatch(url.raw_host) is not None
    return has_host and (url.port or 0) < 65_536


def parsed(text: str) -> httpx.URL | None:
    """Parse a URL, with the host in ASCII even if IDNA refuses it; None if it is invalid."""
    import httpx  # noqa: PLC0415 - slow to import, with its own command line

    try:
        return httpx.URL(_in_ascii(text))
    except (httpx.InvalidURL, ValueError):
        return None


# Cached, because the page of one item is resolved many times.
@lru_cache(maxsize=4_096)
def _absolute(text: str, base: str) -> httpx.URL | None:
    text = _SURROGATE.sub("\ufffd", _CONTROLS.sub("", text)).strip(_BLANK)
    if not text or len(text) > 2 * MAX_LINK:
        return None
    if base and not _ABSOLUTE.match(text):
        try:
            text = urljoin(base, text)
        except ValueError:
            return None
    url = parsed(text)
    return url if url and is_web(url) else None


def _netloc(url: httpx.URL) -> str:
    """Return the normalised host, with the port unless it is the default one."""
    name = url.raw_host.decode("ascii").lower().rstrip(".")
    name = f"[{name}]" if ":" in name else name
    # httpx omits the default port only if the scheme is in lower case.
    is_default = url.port in {None, _PORTS.get(url.scheme)}
    return name if is_default else f"{name}:{url.port}"


def _in_ascii(text: str) -> str:
    """Return a URL with A-labels in the host, and without invisible characters."""
    if text.isascii():
        return text
    found = _AUTHORITY.fullmatch(text)
    if found:
        text = found[1] + _a_labels(_ZERO_WIDTH.sub("", found[2])) + found[3]
    return "".join(mark if mark.isprintable() or mark.isascii() else quote(mark) for mark in text)


def _a_labels(name: str) -> str:
    if name.isascii() or len(name) > _MAX_HOST:
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:
        return ".".join(map(_a_label, _DOTS.split(name)))


def _a_label(label: str) -> str:
    """Return punycode for labels that IDNA 2008 refuses, such as emoji, which do exist."""
    label = unicodedata.normalize("NFKC", label).lower()
    if label.isascii() or not label.isprintable():
        return label
    coded = "xn--" + label.encode("punycode").decode("ascii")
    return coded if len(coded) <= _MAX_LABEL else label


def _query(query: str, *, strip_tracking: bool) -> bytes | None:
    parts = query.split("&")
    kept = [part for part in parts if not (strip_tracking and _is_tracking(part))]
    return "&".join(kept).encode("ascii") or None


def _is_tracking(part: str) -> bool:
    return bool(_TRACKING.fullmatch(_name(part)) or _MEDIUM.fullmatch(part))


def _name(part: str) -> str:
    return part.partition("=")[0].lower()
