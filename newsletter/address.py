"""One spelling for each email address, or a sentence that says what is wrong with it.

The domain is written in A-labels (RFC 5890) and lower case; the local part keeps its letters but,
as every large provider treats them alike, is lower-cased too, so that one reader is one row.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from newsletter.errors import InvalidAddress

#: Octets; RFC 5321 4.5.3.1.3 allows 256 with the angle brackets.
MAXIMUM_LENGTH = 254
#: Octets before the @ (RFC 5321 4.5.3.1.1).
MAXIMUM_LOCAL_LENGTH = 64
# Control characters and the line separators that some parsers honour; none may reach a header.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
# RFC 5321 4.1.2: a dot-string of plain atoms, which needs no further check, and a domain.
_PLAIN = re.compile(r"([a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@([a-z0-9.-]+)")
# For a column of addresses, one in a line: what is no plain address matches without groups.
_PLAIN_LINES = re.compile(
    r"^(?:([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)$)?", re.MULTILINE
)
# A domain whose last label alone decides whether it is valid: no A-label, no label or hyphens that
# RFC 1035 forbids.
_PLAIN_DOMAIN = re.compile(
    r"(?=.{1,240}\Z)(?:(?=[^.]{1,63}\.)[a-z0-9]+(?:-[a-z0-9]+)*\.)+([a-z]{2,63})"
)


@dataclass(frozen=True)
class _Provider:
    """How a mailbox provider reads the local parts of its domains."""

    #: The domain that stands for all of the provider's, None if each has mailboxes of its own.
    domain: str | None = None
    #: What begins a subaddress (RFC 5233).
    separator: str = "+"
    #: Characters that make no difference.
    ignored: str = ""


_GMAIL = _Provider(domain="gmail.com", ignored=".")
_PROTON = _Provider(domain="proton.me", ignored=".-_")
_APPLE = _Provider(domain="icloud.com")
# Its own subaddresses are `name-keyword`; no account has a hyphen in its name.
_YAHOO = _Provider(separator="-")
_YANDEX = _Provider(domain="yandex.ru", ignored=".-")
_PROVIDERS = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), _GMAIL),
    **dict.fromkeys(("proton.me", "protonmail.com", "pm.me"), _PROTON),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), _APPLE),
    **dict.fromkeys(("ymail.com", "rocketmail.com"), _YAHOO),
    "ya.ru": _YANDEX,
}
#: Those that have a domain in each country: `yahoo.co.uk`, `yandex.kz`.
_BY_FIRST_LABEL = {"yahoo": _YAHOO, "yandex": _YANDEX}
_ANY_OTHER = _Provider()


def normalise(text: str, *, local: bool = False) -> str:
    """Return the one spelling of the address in `text`; raise InvalidAddress with the reason.

    With `local`, mailboxes of this machine are addresses, too: an operator may name them.
    """
    address = text.strip(" \t\r\n")
    if not address:
        raise InvalidAddress("The address is empty.")
    plain = _PLAIN.fullmatch(address.lower()) if len(address) <= MAXIMUM_LENGTH else None
    if plain is None:
        _check_form(address)
    try:
        if plain is None:
            spelled = _validated(address, local=local)
        else:
            spelled = f"{plain[1]}@{_domain(plain[2], local=local)}"
    except ValueError as exc:
        raise InvalidAddress(f"{_shown(address)}: {exc}") from exc
    _check_length(spelled)
    return spelled


def normalise_plain(texts: Collection[str]) -> dict[str, str]:
    """Return the spellings that `normalise` gives for plain ASCII addresses, in less time.

    Others are left out; all are if a domain is not valid, or a text has several lines.
    """
    found = _PLAIN_LINES.findall("\n".join(texts))
    if len(found) != len(texts):
        return {}
    different = {domain for _, domain in found if domain}
    try:
        domains = {domain: _domain(domain.lower(), local=False) for domain in different}
    except ValueError:
        return {}
    return {
        text: f"{local.lower()}@{domains[domain]}"
        for text, (local, domain) in zip(texts, found, strict=True)
        if domain in domains and len(text) <= MAXIMUM_LOCAL_LENGTH
    }


def masked(address: str) -> str:
    """Return the address as a stranger may see it: `a…@example.org`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def mailbox(address: str) -> str:
    """Return a name of the mailbox that a normalised address leads to, as far as is known.

    For limits alone: `ann+1@` and `ann+2@` fill one mailbox. A reader is stored, and mailed, under
    the address that they typed.
    """
    local, _, domain = address.rpartition("@")
    by_label = _BY_FIRST_LABEL.get(domain.partition(".")[0], _ANY_OTHER)
    provider = _PROVIDERS.get(domain, by_label)
    name = local.replace("+", provider.separator).partition(provider.separator)[0]
    name = name.translate(dict.fromkeys(map(ord, provider.ignored)))
    return f"{name or local}@{provider.domain or domain}"


def is_local_domain(domain: str) -> bool:
    """Return whether a domain always means the local machine (RFC 6761 §6.3)."""
    return domain in {"localhost", "localhost.localdomain"} or domain.endswith(".localhost")


@lru_cache(maxsize=65_536)
def _domain(domain: str, *, local: bool) -> str:
    """Return the A-label spelling of a domain; validated once per domain, not once per reader."""
    if local and is_local_domain(domain):
        return domain
    plain = _PLAIN_DOMAIN.fullmatch(domain)
    if plain is not None and _is_top_level(plain[1]):
        return domain
    return _validated(f"reader@{domain}", local=local).rpartition("@")[2]


@lru_cache(maxsize=4_096)
def _is_top_level(label: str) -> bool:
    """Return whether plain domains that end with this label are valid."""
    with suppress(ValueError):
        return bool(_validated(f"reader@example.{label}", local=False))
    return False


def _validated(address: str, *, local: bool) -> str:
    domain = address.rpartition("@")[2].lower()
    if local and is_local_domain(domain):
        # The validator cannot allow these; the local part is checked with another domain.
        spelled = _validated(f"{address.rpartition('@')[0]}@example.org", local=False)
        return f"{spelled.rpartition('@')[0]}@{domain}"
    # Importing it, with its tables of IDNA, takes long, and many commands have nothing to check.
    from email_validator import validate_email  # noqa: PLC0415

    found = validate_email(address, check_deliverability=False, test_environment=True)
    # Lower-casing can take a composed letter apart.
    name = normalize("NFC", found.local_part.lower())
    return f"{name}@{found.ascii_domain.lower()}"


def _check_form(address: str) -> None:
    """Refuse what no address may contain, before the slower validation."""
    # No valid spelling is this long, and the validator is slow with long input.
    if len(address) > 4 * MAXIMUM_LENGTH:
        raise InvalidAddress(_too_long(address))
    if _FORBIDDEN.search(address):
        raise InvalidAddress(f"{_shown(address)} has a space or a control character in it.")
    # An encoded-word would be decoded into another recipient on the way.
    if "=?" in address:
        raise InvalidAddress(f"{_shown(address)} has an encoded-word in it.")


def _check_length(address: str) -> None:
    if len(address) <= MAXIMUM_LOCAL_LENGTH and address.isascii():
        return
    local = address.rpartition("@")[0]
    if len(local.encode()) > MAXIMUM_LOCAL_LENGTH:
        raise InvalidAddress(
            f"{_shown(address)} has more than {MAXIMUM_LOCAL_LENGTH} octets before the @."
        )
    if len(address.encode()) > MAXIMUM_LENGTH:
        raise InvalidAddress(_too_long(address))


def _too_long(address: str) -> str:
    return f"{_shown(address)} is longer than {MAXIMUM_LENGTH} octets."


def _shown(address: str) -> str:
    return ascii(address[:100])
