"""Composes digests and corrections: adds the publication's brand and links to their content."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from newsletter import cadences
from newsletter.articles import link
from newsletter.cadences import Cadence
from newsletter.editions import counted_links
from newsletter.models import Kind
from newsletter.publication import Publication
from newsletter.rendering import announcement as announcing
from newsletter.rendering import compile as compiling
from newsletter.rendering import correction as correcting
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import (
    AnnouncementContent,
    CorrectionContent,
    DigestContent,
    Related,
    Story,
)
from newsletter.rendering.message import Markers
from newsletter.tokens import CountedLink, Purpose

S = TypeVar("S", Story, Related)


@dataclass(frozen=True)
class MailRenderer:
    """Compiles the mails of editions, with the values that all mails of the publication share."""

    publication: Publication

    def digest(
        self, content: DigestContent, *, public_id: str, counted: Iterable[int] = ()
    ) -> Rendered:
        """Compile one digest; `public_id` is that of its mailing.

        With `counted`, the ids of the articles of all stories and then of the related ones, its
        links are counted; without, they lead to the articles directly.
        """
        # New markers for every mailing, so that no article can contain one.
        markers = Markers(secrets.token_hex(16))
        return compiling.digest(
            self._linked(content, counted),
            brand=self.publication.brand,
            links=replace(
                self.publication.links(markers),
                view=self._view(public_id),
                are_counted=self.publication.count_clicks,
            ),
            markers=markers,
            environment=self.publication.templates,
            feedback_id=feedback_id(
                Cadence(content.cadence), content.period_on, self.publication.sender_domain
            ),
        )

    def announcement(self, content: AnnouncementContent, *, name: str, public_id: str) -> Rendered:
        """Compile an announcement; `name` is that of its edition, `public_id` of its mailing."""
        markers = Markers(secrets.token_hex(16))
        return announcing.announcement(
            content,
            brand=self.publication.brand,
            links=replace(self.publication.links(markers), view=self._view(public_id)),
            markers=markers,
            environment=self.publication.templates,
            feedback_id=_feedback_id(
                name, cadences.EXTRA, Kind.ANNOUNCEMENT, self.publication.sender_domain
            ),
        )

    def correction(self, content: CorrectionContent, *, cadence: Cadence) -> Rendered:
        """Compile a correction of an article in an edition of a cadence."""
        markers = Markers(secrets.token_hex(16))
        return correcting.correction(
            replace(content, url=self._link(content.url)),
            brand=self.publication.brand,
            links=self.publication.links(markers),
            markers=markers,
            environment=self.publication.templates,
            feedback_id=feedback_id(
                cadence, content.period_on, self.publication.sender_domain, kind=Kind.CORRECTION
            ),
        )

    def _linked(self, content: DigestContent, article_ids: Iterable[int]) -> DigestContent:
        edition = cadences.slug(Cadence(content.cadence), content.period_on)
        ids = iter(article_ids)

        def linked(one: S) -> S:
            url, article_id = self._link(one.url), next(ids, None)
            if article_id is not None:
                counted = CountedLink(edition, article_id, url)
                url = counted_links.of(self.publication, counted)
            return replace(one, url=url)

        stories = tuple(map(linked, content.stories))
        return replace(content, stories=stories, related=tuple(map(linked, content.related)))

    def _link(self, url: str) -> str:
        return link.with_parameters(url, self.publication.link_parameters)

    def _view(self, public_id: str) -> str:
        token = self.publication.keyring.issue(Purpose.VIEW, public_id, 0)
        return f"{self.publication.base_url}/view/{token}"


def feedback_id(cadence: Cadence, period: date, domain: str, *, kind: Kind = Kind.DIGEST) -> str:
    """Return the Feedback-ID of a digest or of a correction of it."""
    return _feedback_id(cadences.slug(cadence, period), cadence, kind, domain)


def _feedback_id(name: str, cadence: str, kind: Kind, domain: str) -> str:
    """Return the Feedback-ID of an edition: its name, cadence, kind, and the sender.

    Google counts complaints by each of the four. The last one must never change, and has 5 to 15
    characters.
    """
    sender = domain
    if not 5 <= len(domain) <= 15:
        sender = hashlib.blake2b(domain.encode(), digest_size=6).hexdigest()
    return f"{name}:{cadence}:{kind}:{sender}"
