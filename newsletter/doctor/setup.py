"""Checks whether the settings are complete enough to send mail to readers.

With the defaults of `newsletter init`, mails would come from newsletter@localhost, with links that
lead to the reader's own machine and without the postal address that CAN-SPAM and CASL require. This
is wrong with any relay, so the checks do not depend on `smtp_url`.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from newsletter import address
from newsletter.doctor.findings import Finding, Level
from newsletter.errors import ConfigurationError
from newsletter.settings import Settings

#: Names of loopback addresses in the hosts files of Debian and Red Hat.
_NAMES = frozenset(
    {
        *("ip6-localhost", "ip6-loopback", "localhost6", "localhost6.localdomain6"),
        *("localhost4", "localhost4.localdomain4"),
    }
)
_WAY_OUT = (
    "They stand in newsletter.toml, or in the environment as NEWSLETTER_SENDER and so on. To try "
    "things out: --force of send, cron, worker and serve; or mail to localhost only, by send, cron "
    "and preview."
)


def incomplete(settings: Settings) -> list[Finding]:
    """Return a finding for each setting with which no mail may leave; its id is `setup.NAME`."""
    return [*_mailboxes(settings), *_links(settings), *_postal_address(settings)]


def require(settings: Settings) -> None:
    """Raise ConfigurationError naming each setting with which no mail may leave."""
    if found := incomplete(settings):
        raise ConfigurationError(
            f"Nothing is sent: {' '.join(one.sentence for one in found)}",
            setting=found[0].id.removeprefix("setup."),
            hint=" ".join([*(one.hint for one in found), _WAY_OUT]),
        )


def is_loopback(host: str) -> bool:
    """Return whether links to a host lead to the machine of the person who opens them.

    By name (RFC 6761 §6.3), or by any spelling of a loopback or unspecified address that a browser
    takes, such as 127.1 or 2130706433.
    """
    name = host.strip("[]").rstrip(".").lower()
    if address.is_local_domain(name) or name in _NAMES:
        return True
    try:
        found = ip_address(name)
    except ValueError:
        try:
            found = ip_address(socket.inet_aton(name))
        except (OSError, ValueError):
            return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_unspecified


def _mailboxes(settings: Settings) -> list[Finding]:
    mailboxes = {
        "sender": settings.sender_address,
        "reply_to": settings.reply_to_address,
        "return_path": settings.bounce_address if settings.return_path else None,
    }
    return [
        _finding(
            name,
            f"{name} is {mailbox}, an address of this machine alone.",
            f"Set {name} to an address at your own domain.",
        )
        for name, mailbox in mailboxes.items()
        if mailbox and is_loopback(mailbox.rpartition("@")[2])
    ]


def _links(settings: Settings) -> list[Finding]:
    links = {
        "base_url": settings.base_url,
        "site_url": settings.site_url,
        "logo_url": settings.logo_url,
    }
    return [
        _finding(
            name,
            f"{name} is {url}, which leads readers to their own machine.",
            f"Set {name} to an address that readers can reach.",
        )
        for name, url in links.items()
        if url and is_loopback(urlsplit(url).hostname or "")
    ]


def _postal_address(settings: Settings) -> list[Finding]:
    if any(character.isalnum() for character in settings.postal_address):
        return []
    return [
        _finding(
            "postal_address",
            "postal_address is empty, and the law asks for one in every mail.",
            "Set postal_address to where mail reaches you: name, street, town, country.",
        )
    ]


def _finding(setting: str, sentence: str, hint: str) -> Finding:
    return Finding(id=f"setup.{setting}", level=Level.ERROR, sentence=sentence, hint=hint)
