"""Sample mails of every kind, about articles written for this project, to check templates."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newsletter import cadences, tokens
from newsletter.cadences import Cadence
from newsletter.rendering.content import (
    AnnouncementContent,
    CorrectionContent,
    DigestContent,
    Image,
    Related,
    Story,
)

if TYPE_CHECKING:
    from newsletter.editions.compose import MailRenderer
    from newsletter.rendering.compile import Rendered
    from newsletter.rendering.letter import Letter
    from newsletter.settings import Settings

_ARTICLES = Path(__file__).parent / "samples" / "articles.toml"
_NOTE = """
This note stands above *one edition*, in the editor's own words:

- paragraphs, **strong words** and lists,
- and [links](https://commonmark.org/help/).
"""
#: The number of stories of the edition that are only on the site.
_MORE = 5
_RELATED = (
    ("Why most tumours of the pancreas are found too late", 3),
    ("What a screening test has to do before its false alarms are worth it", 5),
    ("How cells send each other parcels with sugar on them", 2),
)
#: The lead's picture in the written page, as a data URL that needs no network.
PICTURE = (
    "data:image/svg+xml;utf8,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1200 630'%3E"
    "%3Crect width='1200' height='630' fill='%23d8e2dc'/%3E"
    "%3Ccircle cx='600' cy='700' r='420' fill='%235b8e7d'/%3E"
    "%3Ccircle cx='860' cy='180' r='80' fill='%23f4a259'/%3E%3C/svg%3E"
)


def articles() -> list[dict[str, Any]]:
    """Return the sample articles, the oldest first."""
    found: list[dict[str, Any]] = tomllib.loads(_ARTICLES.read_text(encoding="utf-8"))["article"]
    return found


def picture_url(settings: Settings) -> str:
    """Return the URL of the lead's picture, which does not exist."""
    return f"{settings.brand().site_url}/sample-picture.png"


def digest(cadence: Cadence, settings: Settings, now: datetime) -> DigestContent:
    """Return an edition with every section that a digest can have."""
    site, times = settings.brand().site_url, settings.send_times
    period = cadences.newest_due(cadence, now, times)
    stories = [
        Story(
            title=one["title"],
            url=f"{site}/articles/{one['slug']}",
            minutes=one["minutes"],
            standfirst=one["standfirst"],
            source=one["source"],
            category=one["category"],
        )
        for one in reversed(articles())
    ]
    lead, *others = stories
    image = Image(url=picture_url(settings), alt="A sample picture", width=1200, height=630)
    return DigestContent(
        cadence=cadence,
        period_on=period,
        covers_from=period - cadence.length,
        covers_to=period - timedelta(days=1),
        stories=(replace(lead, image=image), *others),
        related=tuple(
            Related(title=title, url=f"{site}/articles/{number}", minutes=minutes)
            for number, (title, minutes) in enumerate(_RELATED)
        ),
        total_stories=len(stories) + _MORE,
        next_on=cadences.next_due(cadence, now, times),
        note=_NOTE,
    )


def rendered(
    renderer: MailRenderer, cadence: Cadence, settings: Settings, now: datetime
) -> Rendered:
    """Compile the sample edition with the publication's own templates; raises RenderError."""
    return renderer.digest(digest(cadence, settings, now), public_id=tokens.new_public_id())


def render_all(renderer: MailRenderer, settings: Settings, now: datetime) -> Iterator[None]:
    """Compile mails of every kind, with and without optional parts, one per step; RenderError."""
    for cadence in Cadence:
        rendered(renderer, cadence, settings, now)
        yield
    bare = Story(title="A title alone", url=settings.brand().site_url, minutes=1)
    full = digest(Cadence.DAILY, settings, now)
    least = DigestContent(
        cadence=full.cadence,
        period_on=full.period_on,
        covers_from=full.covers_from,
        covers_to=full.covers_to,
        stories=(bare,),
    )
    renderer.digest(least, public_id=tokens.new_public_id())
    yield
    notice = CorrectionContent(
        title=full.stories[0].title,
        url=full.stories[0].url,
        period_on=full.period_on,
        paragraphs=("We wrote 142 adults; there were 124.", "The article says so now."),
    )
    renderer.correction(notice, cadence=Cadence.DAILY)
    yield
    text = AnnouncementContent(subject="We move", text=_NOTE, made_on=full.period_on)
    renderer.announcement(text, name=f"extra-{full.period_on}", public_id=tokens.new_public_id())
    yield
    for letter in _letters(settings, now):
        renderer.publication.draft(letter)
        yield


def _letters(settings: Settings, now: datetime) -> list[Letter]:
    from newsletter.rendering import letter

    at = now.astimezone(settings.zone)
    latest = letter.Latest(title="The newest edition", url=settings.base_url)
    return [
        letter.Confirm(cadence="weekly"),
        letter.Welcome(cadence="weekly", first_at=at, latest=latest),
        letter.Welcome(cadence="daily", first_at=at),
        letter.Present(cadence="monthly", next_at=at),
        letter.Present(cadence="weekly", next_at=None, is_paused=True),
        letter.Present(cadence="weekly", next_at=at, is_paused=True, paused_until=at.date()),
        letter.Goodbye(),
        letter.Erase(),
        letter.Data(),
        letter.NewAddress(),
        letter.OldAddress(cadence="weekly"),
        letter.OldAddress(cadence="weekly", is_done=True),
    ]
