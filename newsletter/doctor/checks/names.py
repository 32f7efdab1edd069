"""The checks `from.domain`, `from.name` and `returnpath`, of From and the envelope sender."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from newsletter.doctor import setup
from newsletter.doctor.checks.routes import Kind, Route
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import zone
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.zone import shown

#: Domains of mailbox providers, whose DMARC policies do not allow others to use them in From.
_FREE = frozenset(
    [
        "126.com", "163.com", "aim.com", "aol.com", "att.net", "bellsouth.net", "bigpond.com",
        "bk.ru", "bluewin.ch", "btinternet.com", "comcast.net", "cox.net", "duck.com",
        "fastmail.com", "fastmail.fm", "free.fr", "freenet.de", "gmail.com", "googlemail.com",
        "hey.com", "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.fr", "hotmail.it",
        "icloud.com", "inbox.ru", "laposte.net", "libero.it", "list.ru", "live.co.uk", "live.com",
        "live.de", "live.fr", "mac.com", "mail.com", "mail.ru", "mailbox.org", "me.com", "msn.com",
        "naver.com", "o2.pl", "orange.fr", "outlook.com", "outlook.de", "outlook.fr", "pm.me",
        "posteo.de", "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "rocketmail.com",
        "sbcglobal.net", "seznam.cz", "sfr.fr", "shaw.ca", "sina.com", "sky.com", "t-online.de",
        "tutanota.com", "uol.com.br", "verizon.net", "virgilio.it", "wanadoo.fr", "web.de",
        "wp.pl", "ya.ru", "ymail.com", "zoho.com", "zohomail.com",
    ]
)  # fmt: skip
#: Providers that have a domain in each country: `yahoo.co.uk`, `gmx.net`.
_FREE_LABELS = frozenset({"yahoo", "yandex", "gmx"})
#: Words typical of subjects, not of names (see Gmail's guidelines for display names).
_SUBJECT = re.compile(
    r"^\s*(?:re|fwd?|aw|wg|tr|sv|antw)\s*:|[!?]{2,}|-{3,}|\d+\s?%|\(\d+\)\s*$|^\s*[\[(]\d+[\])]"
    r"|\b(?:urgent|action required|important update|last chance|final notice|limited time"
    r"|act now|free gift|reminder)\b",
    re.IGNORECASE,
)
#: Characters that look like a badge of approval but are not emoji.
_BADGES = frozenset("✓✔☑✗✘★☆®℠™✪✯❖●◉⬤©")
_MAILBOX = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+\.[^\s@<>\"]+")
#: Maximum of MX records whose hosts are looked up.
_HOSTS = 3


@dataclass(frozen=True, slots=True)
class _Reached:
    """Whether a domain has a mail server; both texts are empty if it has."""

    problem: str = ""
    needs_mx: bool = True
    failure: str = ""


def sender_domain(domain: str, ways: Sequence[Route], lookup: Lookup) -> Iterator[Finding]:
    """Check that the domain in From accepts mail and belongs to the publisher."""
    if domain in _FREE or domain.partition(".")[0] in _FREE_LABELS:
        yield Finding(
            id="from.domain",
            level=Level.ERROR,
            sentence=f"The sender is at {domain}, a mailbox provider, which asks receivers to "
            "refuse such mail from everybody else (DMARC).",
            hint="Set sender to an address at a domain of your own.",
            subject=domain,
        )
        return
    yield from _judged("from.domain", domain, ways, lookup)


def return_path(address: str, ways: Sequence[Route], lookup: Lookup) -> Iterator[Finding]:
    """Check that the domain of the envelope sender has a mail server for bounces."""
    yield from _judged("returnpath", address.rpartition("@")[2], ways, lookup)


def sender_name(name: str, address: str) -> Iterator[Finding]:
    """Check that the display name in From names the sender and nothing else."""
    if why := _wrong_name(name, address):
        yield Finding(
            id="from.name",
            level=Level.WARNING,
            sentence=f'The display name "{name}" {why}; Gmail sorts out mail whose name does more '
            "than say who sends it.",
            hint="Set sender to the name of the publication alone, the same in every mail.",
        )


def local(domain: str, ids: Sequence[str]) -> Iterator[Finding]:
    """Yield for each check a finding that a local domain has no records in DNS."""
    for name in ids:
        yield Finding(
            id=name,
            level=Level.NOT_CHECKED,
            sentence=f"There is nothing in DNS to look at: the domain is {domain}.",
            hint="Set sender to an address at your own domain, and return_path if you have one.",
            subject=domain,
        )


def _judged(name: str, domain: str, ways: Sequence[Route], lookup: Lookup) -> Iterator[Finding]:
    found = _reached(domain, lookup)
    what = (
        "Nobody can answer your mails, and many receivers refuse them"
        if name == "from.domain"
        else "Bounces do not come back, and many receivers refuse mails with such a return path"
    )
    if found.problem:
        hosts = _own(ways)[:1] if found.needs_mx else []
        yield Finding(
            id=name,
            level=Level.ERROR,
            sentence=f"{what}: {found.problem}.",
            hint="Publish an MX record with the host that takes mail for it"
            + ("." if hosts else "; your mailbox provider names it."),
            subject=domain,
            record="".join(zone.record(domain, "MX", f"10 {host}.") for host in hosts),
        )
    elif found.failure:
        yield Finding(
            id=name,
            level=Level.NOT_CHECKED,
            sentence=f"Whether {domain} takes mail is not known: {found.failure}.",
            hint="Run `newsletter doctor` again once that is mended.",
            subject=domain,
        )


def _own(ways: Sequence[Route]) -> list[str]:
    """Return the host names of the publisher's own relays."""
    return [way.name for way in ways if way.kind is Kind.OWN and "." in way.name]


def _reached(domain: str, lookup: Lookup) -> _Reached:
    answer = lookup(domain, "MX")
    if answer.failure:
        return _Reached(failure=answer.failure)
    if not answer.exists:
        return _Reached(f"{domain} is not in DNS")
    if answer.records and not any(answer.records):
        # A null MX (RFC 7505).
        return _Reached(f"{domain} says that it takes no mail (its MX is a dot)")
    # Without MX, the domain itself is the host (RFC 5321 5.1).
    hosts = [host for host in answer.records if host][:_HOSTS] or [domain]
    found = [_has_address(host, lookup) for host in hosts]
    if "" in found:
        return _Reached()
    problem = (
        f"of the mail servers of {domain}, none has an address in DNS "
        f"({', '.join(map(shown, hosts))})"
        if answer.records
        else f"{domain} has neither MX nor address in DNS"
    )
    failure = next((one for one in found if one), "")
    return _Reached(failure=failure) if failure else _Reached(problem, not answer.records)


def _has_address(host: str, lookup: Lookup) -> str | None:
    """Return "" if a host has an address, None if not, or the reason if the look-up failed."""
    answers = [lookup(host, kind) for kind in ("A", "AAAA")]
    if any(answer.records for answer in answers):
        return ""
    return next((f"{shown(host)}: {one.failure}" for one in answers if one.failure), None)


def _wrong_name(name: str, address: str) -> str:
    found = _MAILBOX.search(name)
    if found and found[0].lower() != address.lower():
        return f"has another address in it, {found[0]}"
    if badge := next((sign for sign in name if _is_picture(sign)), ""):
        described = unicodedata.name(badge, "a picture").lower()
        return f"has {described} in it, which could pose as a badge"
    if found := _SUBJECT.search(name):
        return f'has words of a subject in it, "{found[0].strip()}"'
    return ""


def _is_picture(sign: str) -> bool:
    return sign in _BADGES or (unicodedata.category(sign) == "So" and ord(sign) > 0x2100)


def is_local(domain: str) -> bool:
    """Return whether a domain exists on this machine only, or has no dot."""
    return "." not in domain or setup.is_loopback(domain)
