"""Checks the DNS records of the publisher's domain that receivers of mail use."""

from __future__ import annotations

from newsletter.doctor.checks import blocklist, dkim, dmarc, names, ptr, routes, spf
from newsletter.doctor.findings import Finding
from newsletter.doctor.records import dmarc as policies
from newsletter.doctor.records.answers import Lookup
from newsletter.settings import Settings

#: The ids of the checks of DNS.
IDS = (
    "from.domain",
    "spf.one",
    "spf.lookups",
    "spf.relay",
    "dkim.key",
    "dmarc.record",
    "dmarc.tags",
    "ptr",
    "returnpath",
    "blocklist",
)


def findings(settings: Settings, lookup: Lookup) -> list[Finding]:
    """Return the findings on DNS, including checks that could not be made.

    `lookup` is a `resolver.Resolver`; no answer raises an exception.
    """
    domain = settings.sender_domain
    name = names.sender_name(settings.sender_name, settings.sender_address)
    if names.is_local(domain):
        return [*name, *names.local(domain, IDS)]
    walk = policies.walk(domain, lookup)
    ways = routes.of(settings, walk.organizational, lookup)
    return [
        *names.sender_domain(domain, ways, lookup),
        *name,
        *spf.findings(settings.bounce_address, ways, lookup),
        *dkim.findings(settings.dkim_selectors, domain, walk.organizational, lookup),
        *dmarc.findings(walk, settings.reply_to_address or settings.sender_address),
        *ptr.findings(ways, domain, lookup),
        *names.return_path(settings.bounce_address, ways, lookup),
        *blocklist.findings(settings, ways, lookup),
    ]
