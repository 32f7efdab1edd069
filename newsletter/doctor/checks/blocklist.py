"""The check `blocklist`: whether addresses and domains are on the blocklists of Spamhaus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from newsletter.doctor.checks import names, routes
from newsletter.doctor.checks.routes import Kind, Route
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import blocklist
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.blocklist import Listing
from newsletter.settings import Settings, values

_LOOK = "https://check.spamhaus.org/"


def findings(settings: Settings, ways: Sequence[Route], lookup: Lookup) -> Iterator[Finding]:
    """Check the addresses from which mail is sent, and each domain that occurs in every mail."""
    for way in ways:
        public = [address for address in way.addresses if not values.is_inside(address)]
        for address in public:
            yield from _judged(str(address), blocklist.address(address, lookup), way.kind)
        if way.failure or (not public and way.kind is not Kind.PROVIDER):
            yield _not_checked(way)
    for domain in domains(settings):
        yield from _judged(domain, blocklist.domain(domain, lookup), Kind.OWN)


def domains(settings: Settings) -> list[str]:
    """Return the domains that occur in every mail: of From, envelope sender and links."""
    links = [urlsplit(url or "").hostname or "" for url in (settings.base_url, settings.site_url)]
    found = [settings.sender_domain, settings.bounce_address.rpartition("@")[2], *links]
    return [domain for domain in dict.fromkeys(found) if _is_domain(domain)]


def _is_domain(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return not names.is_local(text)
    return False


def _not_checked(way: Route) -> Finding:
    why = (
        way.unknown
        if way.failure
        else f"mail leaves by {way.name}, whose public address cannot be known from here"
    )
    return Finding(
        id="blocklist",
        level=Level.NOT_CHECKED,
        sentence=f"Whether the address that mail leaves from is on a blocklist is not known: {why}"
        ".",
        hint=routes.RECEIVED,
        subject=way.name,
    )


def _judged(asked: str, listing: Listing, kind: Kind) -> Iterator[Finding]:
    if listing.failure:
        yield Finding(
            id="blocklist",
            level=Level.NOT_CHECKED,
            sentence=f"Whether {asked} is on a blocklist is not known: {listing.failure}.",
            hint=f"Look it up at {_LOOK}, or name a resolver of your own by --nameserver.",
            subject=asked,
        )
    elif listing.lists:
        elsewhere = "" if kind is Kind.OWN else f" If mail leaves from elsewhere: {routes.RECEIVED}"
        yield Finding(
            id="blocklist",
            level=Level.ERROR if kind is Kind.OWN else Level.WARNING,
            sentence=f"Spamhaus lists {asked}, and many receivers refuse mail with it "
            f"({'; '.join(listing.lists)}).",
            hint=f"{_LOOK} says why, and takes it off once the cause is mended.{elsewhere}",
            subject=asked,
        )
