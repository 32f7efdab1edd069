"""Composes the mail of one variant: the publication's brand and links around its articles."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import jinja2

from newsletter import cadence as calendar
from newsletter.cadence import Cadence
from newsletter.rendering import compile as compiling
from newsletter.rendering import environment
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import DigestContent, Links
from newsletter.rendering.message import Markers, Slot
from newsletter.settings import Settings
from newsletter.tokens import Keyring, Purpose


@dataclass(frozen=True)
class Press:
    """What the mails of one publication have in common, made once and used for each of them."""

    settings: Settings

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates, the publisher's own before ours."""
        return environment.build(self.settings.templates, self.settings.language)

    @cached_property
    def keyring(self) -> Keyring:
        """What signs the links."""
        return self.settings.keyring()

    def digest(self, content: DigestContent, *, public_id: str) -> Rendered:
        """Compile one digest as the mailing of that public id."""
        # New for every mailing, so that no article can hold a marker.
        markers = Markers(secrets.token_hex(16))
        return compiling.digest(
            content,
            brand=self.settings.brand(),
            links=self._links(markers, public_id),
            markers=markers,
            environment=self.templates,
            feedback_id=feedback_id(
                Cadence(content.cadence), content.period_on, self.settings.sender_domain
            ),
        )

    def _links(self, markers: Markers, public_id: str) -> Links:
        base = self.settings.base_url
        token = markers.of(Slot.UNSUBSCRIBE)
        return Links(
            unsubscribe=f"{base}/unsubscribe/{token}",
            manage=f"{base}/preferences/{markers.of(Slot.MANAGE)}",
            view=f"{base}/view/{self.keyring.issue(Purpose.VIEW, public_id, 0)}",
            unsubscribe_mailto=(
                f"mailto:{self.settings.sender_address}?subject=unsubscribe%20{token}"
            ),
        )


def feedback_id(cadence: Cadence, period: date, domain: str) -> str:
    """Return the Feedback-ID of an edition: its name, cadence, kind, and the sender.

    Google counts complaints by each of the four; the last one is the sender's for ever, and has
    5 to 15 characters.
    """
    sender = domain
    if not 5 <= len(domain) <= 15:
        sender = hashlib.blake2b(domain.encode(), digest_size=6).hexdigest()
    return f"{calendar.slug(cadence, period)}:{cadence}:digest:{sender}"
