"""The addresses from which mail is sent, by the settings and the DNS of the relays' hosts.

The public addresses of a relay on this machine are unknown, at least behind NAT. A provider accepts
mail at one address and sends from others. A host in the publisher's own domain is assumed to send
from the addresses of its name. The setting `sending_addresses` overrides all of this.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, ip_address

from newsletter.doctor import setup
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.zone import Address
from newsletter.settings import Settings, values

#: A hint on how to find the addresses from which mail is sent.
RECEIVED = (
    "Set sending_addresses to the public addresses that mail leaves from; `newsletter doctor "
    "--file` with a mail that one of your own mailboxes has received names them."
)
#: Maximum of addresses of a relay that are checked.
_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class Provider:
    """A mail provider, which sends for others from its own addresses."""

    name: str
    #: Pattern for the ends of its relays' host names.
    hosts: str
    #: The domain that its customers include in their SPF records.
    include: str
    #: Whether it uses its own domain as envelope sender by default; SPF then passes for that
    #: domain.
    has_own_sender: bool = False

    def runs(self, host: str) -> bool:
        """Return whether a host is a relay of this provider."""
        return re.fullmatch(rf"(?:.+\.)?(?:{self.hosts})", host) is not None


#: According to their documentation in the autumn of 2026.
_PROVIDERS = [
    Provider(name, hosts, include)
    for name, hosts, include in (
        ("Mailgun", r"mailgun\.org", "mailgun.org"),
        ("Google", r"gmail\.com|google\.com", "_spf.google.com"),
        ("Microsoft 365", r"(?:office365|outlook|office)\.com", "spf.protection.outlook.com"),
        ("Fastmail", r"fastmail\.com|messagingengine\.com", "spf.messagingengine.com"),
        ("Zoho", r"zoho\.(?:com|eu|in)", "zohomail.com"),
        ("Proton", r"protonmail\.ch|proton\.me", "_spf.protonmail.ch"),
        ("OVH", r"ovh\.(?:net|com)", "mx.ovh.com"),
        ("Gandi", r"gandi\.net", "_mailcust.gandi.net"),
    )
] + [
    Provider(name, hosts, include, has_own_sender=True)
    for name, hosts, include in (
        ("Amazon SES", r"email-smtp[a-z-]*\.[a-z0-9-]+\.amazonaws\.com", "amazonses.com"),
        ("SendGrid", r"sendgrid\.net", "sendgrid.net"),
        ("Postmark", r"postmarkapp\.com", "spf.mtasv.net"),
        ("Resend", r"resend\.com", "amazonses.com"),
        ("Mailjet", r"mailjet\.com", "spf.mailjet.com"),
        ("Brevo", r"brevo\.com|sendinblue\.com", "spf.brevo.com"),
        ("SparkPost", r"sparkpostmail\.com", "sparkpostmail.com"),
        ("Mandrill", r"mandrillapp\.com", "spf.mandrillapp.com"),
    )
]


class Kind(Enum):
    """How well the addresses of a route are known."""

    #: The addresses are configured, or belong to a host of the publisher.
    OWN = auto()
    #: The addresses belong to another organization's host, which may send from others.
    OTHER = auto()
    PROVIDER = auto()
    #: The relay is on this machine or in its network.
    INSIDE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One relay, or the configured addresses, from which mail is sent."""

    kind: Kind
    #: The relay's host; for configured addresses the name of the setting.
    name: str
    addresses: tuple[Address, ...] = ()
    provider: Provider | None = None
    #: Why the look-up of some or all addresses failed; empty otherwise.
    failure: str = ""

    @property
    def unknown(self) -> str:
        """The failure, as a clause with the name of the host."""
        what = "not every address" if self.addresses else "the address"
        is_known = "is known" if self.addresses else "is not known"
        return f"{what} of {self.name} {is_known}: {self.failure}"


def of(settings: Settings, organizational: str, lookup: Lookup) -> list[Route]:
    """Return the routes by which mail is sent, each once.

    A host is the publisher's own if it is in the `organizational` domain of the sender.
    """
    if settings.sending_addresses:
        addresses = tuple(ip_address(text) for text in dict.fromkeys(settings.sending_addresses))
        return [Route(kind=Kind.OWN, name="sending_addresses", addresses=addresses)]
    hosts = dict.fromkeys(_spelled(server.host) for server in settings.smtp_servers())
    return [_route(host, organizational, lookup) for host in hosts]


def is_within(host: str, domain: str) -> bool:
    """Return whether a host is equal to a domain or a subdomain of it."""
    return host == domain or host.endswith(f".{domain}")


def _spelled(host: str) -> str:
    """Return the name of a host in A-labels (RFC 5890), as used in DNS."""
    name = host.lower().rstrip(".")
    if not name.isascii():
        import idna  # noqa: PLC0415 - its tables take long to load, and few hosts need them

        with suppress(idna.IDNAError):
            return idna.encode(name, uts46=True).decode()
    return name


def _route(host: str, organizational: str, lookup: Lookup) -> Route:
    if setup.is_loopback(host):
        return Route(kind=Kind.INSIDE, name=host)
    for provider in _PROVIDERS:
        if provider.runs(host):
            return Route(kind=Kind.PROVIDER, name=host, provider=provider)
    addresses, failure = _addresses(host, lookup)
    if not addresses:
        kind = Kind.OTHER
    # A name without a dot is in the local network.
    elif not {".", ":"} & set(host) or all(values.is_inside(address) for address in addresses):
        kind = Kind.INSIDE
    else:
        kind = Kind.OWN if is_within(host, organizational) else Kind.OTHER
    return Route(kind=kind, name=host, addresses=addresses, failure=failure)


def _addresses(host: str, lookup: Lookup) -> tuple[tuple[Address, ...], str]:
    try:
        return (ip_address(host),), ""
    except ValueError:
        pass
    answers = [lookup(host, "A"), lookup(host, "AAAA")]
    found = [ip_address(text) for answer in answers for text in answer.records][:_ADDRESSES]
    failure = next((answer.failure for answer in answers if answer.failure), "")
    return tuple(found), failure or ("" if found else "it has no address")


def spf_terms(route: Route) -> list[str]:
    """Return the SPF terms with which mail of a route passes; no term costs two look-ups.

    Empty if the addresses are unknown.
    """
    if route.provider is not None:
        return [f"include:{route.provider.include}"]
    if route.kind is Kind.INSIDE:
        return []
    return [
        f"ip4:{address}" if isinstance(address, IPv4Address) else f"ip6:{address}"
        for address in route.addresses
        if not values.is_inside(address)
    ]
