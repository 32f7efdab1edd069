"""Objects that all routes share, built once at start-up: settings, templates and keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Annotated

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import address as addresses
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import DatabaseUnavailable, OutdatedToken
from newsletter.feedback.apply import FeedbackRules
from newsletter.models import Status, Subscriber
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.subscribers import next_digest
from newsletter.tokens import Bearer, Keyring, Purpose
from newsletter.web import hooks, network, pages
from newsletter.web.click_writer import ClickWriter
from newsletter.web.hooks import Hook
from newsletter.web.outages import Outages
from newsletter.web.pages import Choice, Pause, Site, Words
from newsletter.web.report_writer import ReportWriter

#: The wording that a reader agrees to by signing up, as the page and the box show it.
_WORDING = """{% import "web/_layout/words.txt" as words with context -%}
{{ words.headline() }}. {{ words.sentence() }} {{ words.question() }} {{ words.cadence(cadence) }}.
{{ words.note() }} [{{ words.button() }}]"""
_ORIGIN = re.compile(r"https?://(?P<host>[a-z0-9.-]{1,100}(:[0-9]{1,5})?)")


@dataclass(frozen=True)
class WebContext:
    """Everything that a route needs besides the request."""

    settings: Settings
    engine: Engine
    clock: Callable[[], datetime]

    @cached_property
    def publication(self) -> Publication:
        """The values that the mails of the publication share."""
        return Publication.of(self.settings)

    @property
    def keyring(self) -> Keyring:
        """The keys that sign links."""
        return self.publication.keyring

    @cached_property
    def outages(self) -> Outages:
        """The rate-limited log of database outages."""
        return Outages()

    @cached_property
    def hooks(self) -> dict[str, Hook]:
        """The hooks of the providers in the settings."""
        return hooks.of(self.settings)

    @cached_property
    def report_writer(self) -> ReportWriter:
        """The writer of the reports that hooks receive."""
        return ReportWriter(
            self.engine, FeedbackRules.of(self.settings, self.publication), self.clock
        )

    @cached_property
    def click_writer(self) -> ClickWriter:
        """The writer of counted clicks."""
        return ClickWriter(self.engine, self.clock, self.day, self.outages)

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The environment of the pages' templates."""
        chosen = self.settings
        site = Site(
            brand=chosen.brand(),
            base_url=chosen.base_url,
            words=Words(
                headline=chosen.box_headline,
                sentence=chosen.box_sentence,
                button=chosen.box_button,
                note=chosen.box_note,
            ),
            has_archive=chosen.archive,
        )
        return pages.build(site, templates=chosen.templates)

    @cached_property
    def policy(self) -> str:
        """The Content-Security-Policy of every page."""
        return pages.policy(self.templates)

    def page(
        self,
        name: str,
        page: object,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """Render a page, with the Content-Security-Policy of all pages."""
        text = pages.render(self.templates, name, page)
        policy = {"Content-Security-Policy": self.policy}
        return HTMLResponse(text, status_code=status, headers={**policy, **(headers or {})})

    def wording(self, cadence: str) -> str:
        """Return the wording that a reader agrees to, for the record of consent."""
        return " ".join(self.templates.from_string(_WORDING).render(cadence=cadence).split())

    def issue(self, purpose: Purpose, subscriber: Subscriber) -> str:
        """Return a token for a link on a page of this reader."""
        return self.keyring.issue(purpose, subscriber.public_id, subscriber.generation)

    def choice(self, cadence: Cadence, *, after: datetime | None) -> Choice:
        """Return a cadence and when its next digest is due; None during a pause without an end."""
        return self._choice(cadence, after, self._skipped())

    def choices(self, *, after: datetime | None, session: Session | None = None) -> list[Choice]:
        """Return all cadences, the fastest first."""
        skipped = self._skipped(session)
        return [self._choice(cadence, after, skipped) for cadence in Cadence]

    def next_at(self, reader: Subscriber, session: Session | None = None) -> datetime | None:
        """Return when a reader's next digest is due; None if there is none."""
        times, skipped = self.settings.send_times, self._skipped(session)
        return next_digest.of(reader, now=self.clock(), times=times, skipped=skipped)

    def pause(self, reader: Subscriber) -> Pause | None:
        """Return the pause that a reader is in."""
        if not next_digest.is_paused(reader, self.clock()):
            return None
        until = reader.paused_until
        return Pause(until=self.day(until) if until else None)

    def resumes_at(self, reader: Subscriber) -> datetime | None:
        """Return when mail to a reader resumes; None during a pause without an end."""
        return next_digest.resumes_at(reader, self.clock())

    def day(self, instant: datetime) -> date:
        """Return the date of an instant in the publication's time zone."""
        return instant.astimezone(self.settings.zone).date()

    def _choice(
        self, cadence: Cadence, after: datetime | None, skipped: next_digest.Skipped
    ) -> Choice:
        if after is None:
            return Choice(cadence=cadence, at=None)
        times = self.settings.send_times
        at = next_digest.next_at(cadence, after=after, times=times, skipped=skipped)
        return Choice(cadence=cadence, at=at)

    def _skipped(self, session: Session | None = None) -> next_digest.Skipped:
        """Return the future periods that an editor has skipped.

        Empty while the database is unavailable, so that pages that do not need it are still shown.
        """
        if session is not None:
            return next_digest.skipped_ahead(session, now=self.clock())
        with suppress(DatabaseUnavailable), sessions.reading(self.engine) as opened:
            return next_digest.skipped_ahead(opened, now=self.clock())
        return next_digest.NONE_SKIPPED


def web(request: Request) -> WebContext:
    """Return the context of the application."""
    found = request.app.state.web
    assert isinstance(found, WebContext)
    return found


Context = Annotated[WebContext, Depends(web)]


def masked(subscriber: Subscriber) -> str:
    """Return a reader's address masked, because the link may have been forwarded."""
    return addresses.masked(subscriber.address)


def check_generation(subscriber: Subscriber | None, bearer: Bearer) -> Subscriber:
    """Return the reader for whom a link was made.

    Raises OutdatedToken if there is no such reader, or the link belongs to an earlier consent.
    """
    if subscriber is None or subscriber.generation != bearer.generation:
        raise OutdatedToken(has_returned=has_returned(subscriber, bearer))
    return subscriber


def has_returned(subscriber: Subscriber | None, bearer: Bearer) -> bool:
    """Return whether a reader has subscribed again after a link was made."""
    return (
        subscriber is not None
        and subscriber.status in {Status.ACTIVE, Status.PAUSED}
        and subscriber.generation > bearer.generation
    )


def remote(request: Request) -> str | None:
    """Return the client's network address, None if unknown."""
    return network.normalise(request.client.host) if request.client else None


def origin_of(request: Request) -> str:
    """Return the site of a form, from the Origin header: `box on miasfeed.example`."""
    found = _ORIGIN.fullmatch(request.headers.get("origin", "").lower())
    return f"box on {found['host']}" if found else "page"
