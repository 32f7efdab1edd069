"""Compiles a correction: the publisher's text about an article that readers were sent."""

from __future__ import annotations

import re

import jinja2

from newsletter.errors import InvalidInput
from newsletter.graphemes import shorten
from newsletter.rendering import colour, message, plaintext
from newsletter.rendering import compile as compiling
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import Brand, CorrectionContent, Links, one_line
from newsletter.rendering.environment import render
from newsletter.rendering.message import Markers, Slot

# A link, without the punctuation after it that ends a sentence or closes a bracket.
_LINK = re.compile(r"(https?://[^\s<>\"]*[^\s<>\".,;:!?'()\[\]{}’”»。、，！？；：）」])")


def correction(
    content: CorrectionContent,
    *,
    brand: Brand,
    links: Links,
    markers: Markers,
    environment: jinja2.Environment,
    feedback_id: str | None,
) -> Rendered:
    """Compile one correction; RenderError if a template is wrong, InvalidInput if it is too long.

    It has the same unsubscribe links and headers as a digest, but no web page.
    """
    values = {
        "brand": brand,
        "links": links,
        "content": content,
        "title": shorten(one_line(content.title), 300) or content.url,
        # Each paragraph is split into alternating text and links, which the template formats.
        "paragraphs": [_LINK.split(paragraph) for paragraph in content.paragraphs],
        "slots": {slot.value: markers.of(slot) for slot in Slot},
        "light": colour.light(brand.accent),
        "dark": colour.dark(brand.accent),
        "is_page": False,
    }
    subject = content.subject or render(environment, "email/correction/subject.txt", values)
    text = plaintext.tidy(render(environment, "email/correction/body.txt", values))
    html = compiling.inline(render(environment, "email/correction/body.html", values))
    heading = compiling.heading_of(" ".join(subject.split()), brand, links, feedback_id)
    compiling.check_whole(
        "correction", heading.subject, {"body.html": html, "body.txt": text}, markers
    )
    if message.body_size(html, markers) >= compiling.WIRE_LIMIT:
        raise InvalidInput(
            "The correction is too long: mailboxes would cut off its end.",
            hint="Say it in fewer words, and link to the rest.",
        )
    return Rendered(
        message.assemble(heading, text=text, html=html, markers=markers), html, text, page=""
    )
