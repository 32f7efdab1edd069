"""How the desk's pages are rendered: templates, files that they load, and security policy.

A route passes values to a template in templates/desk. The publisher's own templates have no part
here, since they are made for readers. Nothing here depends on requests or tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup, escape

from newsletter import paths
from newsletter.desk import charts
from newsletter.logs.lines import printable
from newsletter.rendering import colour

_TYPES = {"css": "text/css", "js": "text/javascript"}
#: Everything from the desk itself, and no script or style within a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
#: The policy of a mail within a page of the desk: pictures and styles, no scripts and no forms.
MAIL_POLICY = (
    "default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page in the menu."""

    path: str
    name: str


#: The menu, in groups: heading and pages.
MENU: Mapping[str, tuple[Entry, ...]] = {
    "Publish": (
        Entry(path="/", name="Today"),
        Entry(path="/next", name="Next"),
        Entry(path="/editions", name="Editions"),
        Entry(path="/compose", name="Compose"),
    ),
    "Content": (
        Entry(path="/articles", name="Articles"),
        Entry(path="/feeds", name="Feeds"),
    ),
    "Readers": (
        Entry(path="/readers", name="Readers"),
        Entry(path="/growth", name="Growth"),
        Entry(path="/suppressions", name="Suppressions"),
    ),
    "Machine": (
        Entry(path="/delivery", name="Delivery"),
        Entry(path="/reports", name="Reports"),
        Entry(path="/findings", name="Findings"),
        Entry(path="/settings", name="Settings"),
        Entry(path="/audit", name="Audit"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class File:
    """A style or script; its name changes with its content, so that browsers may keep it."""

    name: str
    media_type: str
    content: bytes


class Pages:
    """The templates of the desk of one publication."""

    def __init__(self, *, name: str, accent: str, zone: ZoneInfo) -> None:
        self._zone = zone
        self._environment = environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(paths.TEMPLATES / "desk"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.update(
            publication=name, menu=MENU, light=colour.light(accent), dark=colour.dark(accent)
        )
        environment.filters.update(
            number=number,
            percent=percent,
            at=self.at,
            day=self.day,
            counted=counted,
            prose=prose,
            plain=printable,
        )
        style, script = self.files
        environment.globals.update(
            progress_bar=charts.progress, style=style, script=script, zone=zone.key
        )

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """Render a template with its values."""
        return self._environment.get_template(f"{name}.html").render(values)

    @cached_property
    def files(self) -> dict[str, File]:
        """The style and the script by their names."""
        return {one.name: one for one in map(self._file, _TYPES)}

    def at(self, instant: datetime | None) -> Markup:
        """Return an instant in the publication's time zone, to the minute; a dash for None."""
        if instant is None:
            return Markup("–")
        local = instant.astimezone(self._zone)
        return Markup('<time datetime="{}">{}</time>').format(
            local.isoformat(timespec="seconds"), f"{local:%Y-%m-%d %H:%M}"
        )

    def day(self, instant: datetime) -> str:
        """Return the date of an instant in the publication's time zone."""
        return f"{instant.astimezone(self._zone):%Y-%m-%d}"

    def _file(self, ending: str) -> File:
        # Neither has markup, and both would be spoilt by escapes.
        text = self._environment.overlay(autoescape=False).get_template(f"desk.{ending}").render()
        content = text.encode()
        name = f"desk-{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
        return File(name=name, media_type=_TYPES[ending], content=content)


def number(count: float) -> str:
    """Return a number with its thousands apart: 12,345."""
    return (
        f"{count:,.1f}" if isinstance(count, float) and not count.is_integer() else f"{count:,.0f}"
    )


def percent(part: float, whole: float) -> str:
    """Return a share in words: 12.3 %; a dash if there is no whole."""
    return f"{100 * part / whole:,.1f} %" if whole else "–"


def prose(text: str) -> Markup:
    """Return a sentence of this program as HTML: `words` in backticks are code.

    What strangers have written in it cannot change its direction.
    """
    parts = printable(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: 1 reader, 2,000 readers."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
