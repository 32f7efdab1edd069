"""Letters: mail to one reader about their own subscription; many readers share a compiled one.

Letters contain nothing that a visitor typed, and values that differ from reader to reader are
slots. So a thousand sign-ups share one mailing, which is identified by its `key`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar

import jinja2

from newsletter.rendering import colour, message, plaintext
from newsletter.rendering import compile as compiling
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import Brand, Links
from newsletter.rendering.environment import render
from newsletter.rendering.message import Heading, Markers, Slot


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The newest edition, for the welcome letter."""

    title: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """Asks to confirm a sign-up (double opt-in); needs `links.confirm`."""

    kind: ClassVar[str] = "confirm"
    can_unsubscribe: ClassVar[bool] = False
    cadence: str


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """Sent after a confirmation, with the time of the first digest."""

    kind: ClassVar[str] = "welcome"
    can_unsubscribe: ClassVar[bool] = True
    cadence: str
    #: The time of the first digest, in the publication's time zone like all instants in letters.
    first_at: datetime
    latest: Latest | None = None


@dataclass(frozen=True, kw_only=True)
class Present:
    """Sent to a subscriber whose address was entered again: links to the preferences."""

    kind: ClassVar[str] = "present"
    can_unsubscribe: ClassVar[bool] = True
    cadence: str
    #: The next digest, after the pause if there is one; None if the pause has no end.
    next_at: datetime | None
    is_paused: bool = False
    paused_until: date | None = None


@dataclass(frozen=True, kw_only=True)
class Goodbye:
    """Sent after an unsubscription; `links.unsubscribe` leads to the page with the undo."""

    kind: ClassVar[str] = "goodbye"
    can_unsubscribe: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Erase:
    """Asks a reader to confirm their erasure; needs `links.erase`."""

    kind: ClassVar[str] = "erase"
    can_unsubscribe: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class NewAddress:
    """Asks the owner of a reader's new address to confirm it; needs `links.new_address`."""

    kind: ClassVar[str] = "new_address"
    can_unsubscribe: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Data:
    """Gives a reader the link to a copy of their data; needs `links.data`."""

    kind: ClassVar[str] = "data"
    can_unsubscribe: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class OldAddress:
    """Sent to a reader's old address: a new one was asked for, or has been confirmed."""

    kind: ClassVar[str] = "old_address"
    can_unsubscribe: ClassVar[bool] = True
    cadence: str
    is_done: bool = False


Letter = Confirm | Welcome | Present | Goodbye | Erase | Data | NewAddress | OldAddress


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A rendered letter, not compiled yet, because often a mailing with its key exists already."""

    kind: str
    heading: Heading
    text: str
    html: str
    markers: Markers

    @property
    def key(self) -> str:
        """A hash of text, sender and links; letters with the same key share a mailing."""
        words = repr((self.kind, self.heading, self.text, self.html))
        return hashlib.sha256(words.replace(self.markers.nonce, "").encode()).hexdigest()

    def compile(self) -> Rendered:
        """Inline the styles and split the message at its slots; a letter has no web page."""
        html = compiling.inline(self.html)
        assembled = message.assemble(self.heading, text=self.text, html=html, markers=self.markers)
        return Rendered(assembled, html, self.text, page="")


def draft(
    letter: Letter,
    *,
    brand: Brand,
    links: Links,
    markers: Markers,
    environment: jinja2.Environment,
) -> Draft:
    """Render a letter; raise RenderError if a template is wrong."""
    folder = f"email/{letter.kind}"
    values = _values(letter, brand, links, markers)
    subject = render(environment, f"{folder}/subject.txt", values)
    text = plaintext.tidy(render(environment, f"{folder}/body.txt", values))
    html = render(environment, f"{folder}/body.html", values)
    heading = _heading(letter, _plain(subject), brand, links)
    return Draft(kind=letter.kind, heading=heading, text=text, html=html, markers=markers)


def _values(letter: Letter, brand: Brand, links: Links, markers: Markers) -> Mapping[str, Any]:
    return {
        "letter": letter,
        "brand": brand,
        "links": links,
        "slots": {slot.value: markers.of(slot) for slot in Slot},
        "light": colour.light(brand.accent),
        "dark": colour.dark(brand.accent),
        "is_page": False,
    }


def _plain(subject: str) -> str:
    """Return a subject on one line, without the isolates around dates in a body (UAX #9)."""
    return " ".join(subject.translate({0x2068: None, 0x2069: None}).split())


def _heading(letter: Letter, subject: str, brand: Brand, links: Links) -> Heading:
    # The List-* headers (RFC 8058) are set only if there is a consent to end.
    can_unsubscribe = letter.can_unsubscribe
    return Heading(
        sender=brand.sender,
        subject=subject,
        reply_to=brand.reply_to,
        list_id=brand.list_id if can_unsubscribe else None,
        list_name=brand.name,
        unsubscribe=links.unsubscribe if can_unsubscribe else None,
        unsubscribe_mailto=links.unsubscribe_mailto if can_unsubscribe else None,
        event_headers=brand.event_headers,
        is_bulk=False,
    )
