"""Validates and normalises email addresses, so that one address has one spelling.

The domain is written in A-labels (RFC 5890) and lower case. The local part is lower-cased too,
because no large provider distinguishes case, so that one reader is one row.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache
from unicodedata import normalize

from newsletter.errors import InvalidAddress

#: Maximum octets of an address; RFC 5321 4.5.3.1.3 allows 256 with the angle brackets.
MAXIMUM_LENGTH = 254
#: Maximum octets before the @ (RFC 5321 4.5.3.1.1).
MAXIMUM_LOCAL_LENGTH = 64
# Control characters, and line separators of some parsers; none may reach a header.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
# A dot-string of plain atoms (RFC 5321 4.1.2), which needs no further check, and a domain.
_PLAIN = re.compile(r"([a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@([a-z0-9.-]+)")
# For a column of addresses, one per line; a line with any other text matches with empty groups.
_PLAIN_LINES = re.compile(
    r"^(?:([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)$)?", re.MULTILINE
)
# A domain with valid labels (RFC 1035) and no A-labels; only its last label is still to be checked.
_PLAIN_DOMAIN = re.compile(
    r"(?=.{1,240}\Z)(?:(?=[^.]{1,63}\.)[a-z0-9]+(?:-[a-z0-9]+)*\.)+([a-z]{2,63})"
)


@dataclass(frozen=True)
class _Provider:
    """The rules of a mailbox provider by which different local parts lead to the same mailbox."""

    #: The main one of several domains with the same mailboxes; None if each has its own mailboxes.
    domain: str | None = None
    #: The character before a subaddress (RFC 5233).
    separator: str = "+"
    #: Characters that the provider ignores.
    ignored: str = ""


_GMAIL = _Provider(domain="gmail.com", ignored=".")
_PROTON = _Provider(domain="proton.me", ignored=".-_")
_APPLE = _Provider(domain="icloud.com")
# Yahoo's subaddresses are `name-keyword`; no account has a hyphen in its name.
_YAHOO = _Provider(separator="-")
_YANDEX = _Provider(domain="yandex.ru", ignored=".-")
_PROVIDERS = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), _GMAIL),
    **dict.fromkeys(("proton.me", "protonmail.com", "pm.me"), _PROTON),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), _APPLE),
    **dict.fromkeys(("ymail.com", "rocketmail.com"), _YAHOO),
    "ya.ru": _YANDEX,
}
#: Providers with a domain in each country: `yahoo.co.uk`, `yandex.kz`.
_BY_FIRST_LABEL = {"yahoo": _YAHOO, "yandex": _YANDEX}
_ANY_OTHER = _Provider()


def normalise(text: str, *, local: bool = False) -> str:
    """Return the normalised address in `text`; raise InvalidAddress with the reason.

    With `local`, mailboxes of this machine are valid too, for addresses of the operator.
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
    """Return the results of `normalise` for plain ASCII addresses, in less time.

    Other texts are left out. The result is empty if a domain is invalid, or a text has several
    lines.
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
    """Return an address with its local part hidden: `a…@example.org`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def bare(text: str) -> str:
    """Return the address in `Name <address>` (RFC 5322 3.4), unchecked; empty if there is none.

    Never raises, so the text may come from anybody.
    """
    # The standard library descends into nested comments without a limit.
    with suppress(RecursionError):
        return parseaddr(text)[1]
    return ""


def mailbox(address: str) -> str:
    """Return an id of the mailbox to which a normalised address leads, as far as is known.

    It is used only for rate limits: mail to `ann+1@` and `ann+2@` goes to one mailbox. A reader is
    stored and mailed under the address that they typed.
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
        # The validator refuses local domains, so the local part is checked with another one.
        spelled = _validated(f"{address.rpartition('@')[0]}@example.org", local=False)
        return f"{spelled.rpartition('@')[0]}@{domain}"
    # Imported late: its tables of IDNA take long to load, and many commands check no address.
    from email_validator import validate_email  # noqa: PLC0415

    found = validate_email(address, check_deliverability=False, test_environment=True)
    # Normalised, because lower-casing can decompose a letter.
    name = normalize("NFC", found.local_part.lower())
    return f"{name}@{found.ascii_domain.lower()}"


def _check_form(address: str) -> None:
    """Raise InvalidAddress for characters that no address has, before the slower validation."""
    # Longer input is never valid, and the validator would be slow with it.
    if len(address) > 4 * MAXIMUM_LENGTH:
        raise InvalidAddress(_too_long(address))
    if _FORBIDDEN.search(address):
        raise InvalidAddress(f"{_shown(address)} has a space or a control character in it.")
    # A mail server could decode an encoded-word into another recipient.
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
