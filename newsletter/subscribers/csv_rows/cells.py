"""Parses single cells: spreadsheet formulas, column names, dates, IP addresses, languages.

A cell that cannot be used is None; only an invalid address raises.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache, lru_cache
from unicodedata import normalize
from zoneinfo import available_timezones

from newsletter import address as addresses
from newsletter.errors import InvalidAddress

#: Cells that spreadsheets evaluate as a formula. They normalise wide, small and raised forms of the
#: signs to ASCII (NFKC), and skip white space and invisible characters before them.
_FORMULA = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*[=+\-@＝﹦⁼₌⩵⩶＋﹢⁺₊﬩－﹣⁻₋−＠﹫]|[\t\r\n']")
_NAME = re.compile(r"[\W_]+")
#: Invisible characters that are copied along from web pages and documents.
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
#: Where to split the words of `emailAddress`; `E-Mail` and `LEID` are not split.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: The subset of BCP 47 that catalogues and content negotiation use.
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_LONGEST_TAG = 35
#: Maximum characters of an IPv6 address whose last four octets are written as IPv4.
_LONGEST_IP = 45
#: Earlier dates are no evidence of consent to an email newsletter.
_FIRST_YEAR = 1_990
#: Forms of dates. `%d/%m` and `%m/%d` are left out, as an ambiguous date is no evidence.
_FORMS = ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S",
          "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%b %d, %Y", "%B %d, %Y",
          "%d %b %Y", "%d %B %Y", "%a, %d %b %Y %H:%M:%S %z")  # fmt: skip
_LONGEST_DATE = 40
#: The form of most tools, without a zone. Parsing it takes less time than a cache, if a zone is
#: appended first: `replace(tzinfo=...)` is slower than the parsing.
_COMMON = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}(?::[0-9]{2}){2}")
_COMMON_LINES = re.compile(rf"(?:{_COMMON.pattern}\n)*")
_COMMON_LENGTH = len("2026-11-30 09:00:00")
_EPOCH = re.compile(r"\d{9,10}(?:\d{3})?")
#: Forms in which databases and spreadsheets write an empty date.
NOTHING = frozenset(
    {
        "",
        "-",
        "null",
        "(null)",
        "none",
        "nan",
        "nat",
        "n/a",
        "\\n",
        "0",
        "0000-00-00",
        "0000-00-00 00:00:00",
    }
)


def guard(cell: str) -> str:
    """Return the cell escaped, if a spreadsheet would evaluate it as a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """Return the cell that `guard` escaped."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def plain(cell: str) -> str:
    """Return a cell without the escape of `guard` and surrounding white space."""
    return (unguard(cell) if cell[:1] == "'" else cell).strip()


@lru_cache(maxsize=4_096)
def key(name: str) -> str:
    """Return the name of a column or state, normalised to lower-case words.

    `emailAddress`, `EMAIL_ADDRESS` and `Email address` have the same key.
    """
    return " ".join(_NAME.sub(" ", _HUMP.sub(" ", _composed(plain(name)))).casefold().split())


def bare(cell: str) -> str:
    """Return a cell with case, white space and Unicode form normalised."""
    return (cell if cell.isascii() else _composed(cell)).strip().casefold()


def _composed(text: str) -> str:
    """Return text in NFKC: macOS decomposes `é`, and web pages have letters that look bold."""
    return _INVISIBLE.sub("", normalize("NFKC", text))


def address(cell: str, *, is_guess: bool) -> str:
    """Return the normalised address; raises InvalidAddress.

    With `is_guess`, the encoding of the file is guessed: letters outside ASCII are refused, because
    a wrong letter would make it the address of another person.
    """
    if not cell.isascii() and (is_guess or any("\ud800" <= letter <= "\udfff" for letter in cell)):
        raise InvalidAddress("The address is not UTF-8.")
    return addresses.normalise(cell)


def moment(cell: str, *, now: datetime) -> datetime | None:
    """Return the instant of a past event, in UTC; a cell without a zone is read as UTC.

    None for an invalid or ambiguous date (01/02/2024), and for one in the future or before 1990.
    """
    found = instant(cell)
    return found if found is not None and found.year >= _FIRST_YEAR and found <= now else None


def common_moments(column: Collection[str], *, now: datetime) -> dict[str, datetime]:
    """Return the results of `moment` for cells of the most common form, in less time.

    Other cells are left out. The result is empty if any cell of that form is not accepted.
    """
    common = [cell for cell in column if len(cell) == _COMMON_LENGTH]
    lines = "\n".join([*common, ""])
    if not common or not _COMMON_LINES.fullmatch(lines):
        return {}
    try:
        found = list(map(datetime.fromisoformat, lines.replace("\n", "+00:00\n").splitlines()))
    except ValueError:
        return {}
    is_past = min(found).year >= _FIRST_YEAR and max(found) <= now
    return dict(zip(common, found, strict=True)) if is_past else {}


def instant(cell: str) -> datetime | None:
    """Return the instant of a cell in UTC; a cell without a zone is read as UTC."""
    if _COMMON.fullmatch(cell):
        try:
            return datetime.fromisoformat(f"{cell}+00:00")
        except ValueError:
            return None
    # Long cells are refused here, so that the cache does not contain them.
    return _instant(cell) if cell and len(cell) <= _LONGEST_DATE else None


def ip(cell: str) -> str | None:
    """Return the IP address of a cell in canonical form, without a scope."""
    bare = cell.partition("%")[0]
    return _ip(bare) if 0 < len(bare) <= _LONGEST_IP else None


def language(cell: str) -> str | None:
    """Return a BCP 47 tag (`de`, `pt-BR`), also of a locale such as `pt_BR.UTF-8`."""
    tag = cell.partition(".")[0]
    return _language(tag) if len(tag) <= _LONGEST_TAG else None


def timezone(cell: str) -> str | None:
    """Return the IANA time zone of a cell, with the case that IANA uses."""
    return _zones().get(cell.casefold()) if cell else None


@lru_cache(maxsize=8_192)
def _instant(cell: str) -> datetime | None:
    if not cell.isascii():
        return None
    try:
        if cell.isdigit() and _EPOCH.fullmatch(cell):
            return datetime.fromtimestamp(int(cell[:-3] if len(cell) > 10 else cell), UTC)
        found = _parsed(cell)
        if found is None:
            return None
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _parsed(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return datetime.strptime(cell, form)  # noqa: DTZ007 - made aware by its caller
        except ValueError:
            continue
    return None


@lru_cache(maxsize=4_096)
def _ip(bare: str) -> str | None:
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, bare))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1_024)
def _language(tag: str) -> str | None:
    tag = tag.replace("_", "-")
    if not _LANGUAGE.fullmatch(tag):
        return None
    primary, *others = tag.split("-")
    cased = [part.upper() if len(part) == 2 else part.title() for part in others]
    return "-".join([primary.lower(), *cased])


@cache
def _zones() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones()}
