"""The parameters of a worker, built from the settings by an entry point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from newsletter.ledger import dead_addresses, retry
from newsletter.return_path import ReturnPath
from newsletter.sender.limits import Limits
from newsletter.sender.personalize import Filler
from newsletter.settings import Settings
from newsletter.smtp.server import SmtpServer


@dataclass(frozen=True)
class Plan:
    """The parameters of a worker: relays, limits, retry policy and the like."""

    servers: Sequence[SmtpServer]
    connections: int
    return_path: ReturnPath
    filler: Filler
    retries: retry.RetryRules
    suppression: dead_addresses.SuppressionRules
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """Return the plan that the settings describe."""
        keyring = settings.keyring()
        return cls(
            servers=settings.smtp_servers(),
            connections=settings.smtp_connections,
            return_path=ReturnPath(settings.bounce_address, keyring),
            filler=Filler(keyring),
            retries=retry.RetryRules(settings.unknown_policy, settings.retry_waits),
            suppression=dead_addresses.SuppressionRules(keyring, settings.full_mailboxes),
            limits=Limits.of(settings),
        )
