"""Compiles an announcement: a text of the publisher in Markdown, in the look of a digest."""

from __future__ import annotations

from typing import Any

import jinja2

from newsletter.errors import InvalidInput
from newsletter.rendering import colour, message, note, plaintext
from newsletter.rendering import compile as compiling
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import AnnouncementContent, Brand, Links
from newsletter.rendering.environment import render
from newsletter.rendering.message import Markers, Slot

_TOO_LONG = "The announcement is too long: mailboxes would cut off its end."


def announcement(
    content: AnnouncementContent,
    *,
    brand: Brand,
    links: Links,
    markers: Markers,
    environment: jinja2.Environment,
    feedback_id: str | None,
) -> Rendered:
    """Compile one announcement; RenderError if a template is wrong, InvalidInput if it is too long.

    It has the same unsubscribe links, headers and web page as a digest.
    """
    values: dict[str, Any] = {
        "brand": brand,
        "links": links,
        "content": content,
        "slots": {slot.value: markers.of(slot) for slot in Slot},
        "light": colour.light(brand.accent),
        "dark": colour.dark(brand.accent),
        "notes": plaintext.Notes(),
        "opening": note.shown(content.text),
        "is_page": False,
    }
    subject = render(environment, "email/announcement/subject.txt", values)
    text = plaintext.tidy(render(environment, "email/announcement/body.txt", values))
    html = _html(values, environment)
    heading = compiling.heading_of(" ".join(subject.split()), brand, links, feedback_id)
    compiling.check_whole(
        "announcement", heading.subject, {"body.html": html, "body.txt": text}, markers
    )
    size = message.body_size(html, markers)
    if size >= compiling.WIRE_LIMIT:
        raise InvalidInput(_TOO_LONG, hint="Say it in fewer words, and link to the rest.")
    return Rendered(
        message.assemble(heading, text=text, html=html, markers=markers),
        html,
        text,
        _html(values | {"is_page": True}, environment),
        size,
    )


def _html(values: dict[str, Any], environment: jinja2.Environment) -> str:
    return compiling.inline(render(environment, "email/announcement/body.html", values))
