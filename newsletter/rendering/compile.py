"""Compiles a digest: renders its templates, inlines the styles, and makes one message with slots.

If mailboxes would clip the HTML, it is rendered again with less detail: summaries become headlines,
and headlines become "and more on the site". The footer is never cut.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from newsletter.errors import RenderError
from newsletter.rendering import colour, message, plaintext, selection
from newsletter.rendering.content import Brand, DigestContent, Links, cleaned
from newsletter.rendering.environment import month_of, render
from newsletter.rendering.message import CompiledMessage, Heading, Markers, Slot

#: Gmail clips a message beyond 102 kB, and with it the unsubscribe link.
WIRE_LIMIT = 100_000


@dataclass(frozen=True)
class Rendered:
    """One mailing, ready to freeze; `html` and `text` contain markers of slots, `page` does not."""

    message: CompiledMessage
    html: str
    text: str
    #: The same edition as a public web page, without links of a reader.
    page: str
    #: Octets of the HTML part as transmitted; Gmail clips by this size.
    html_octets: int = 0


def digest(
    content: DigestContent,
    *,
    brand: Brand,
    links: Links,
    markers: Markers,
    environment: jinja2.Environment,
    feedback_id: str | None,
) -> Rendered:
    """Compile one digest; raise RenderError for a wrong template, or if there is no content."""
    if not content.stories:
        raise RenderError("A digest needs at least one story.")
    content = cleaned(content, site_url=brand.site_url)
    values = _values(content, brand, links, markers)
    chosen, html = _fitting(content, values, environment, markers)
    subject = render(environment, "email/digest/subject.txt", values | chosen)
    text = render(environment, "email/digest/body.txt", values | chosen)
    heading = heading_of(" ".join(subject.split()), brand, links, feedback_id)
    text = plaintext.tidy(text)
    check_whole("digest", heading.subject, {"body.html": html, "body.txt": text}, markers)
    return Rendered(
        message.assemble(heading, text=text, html=html, markers=markers),
        html,
        text,
        _html(values | chosen | {"is_page": True}, environment),
        message.body_size(html, markers),
    )


def check_whole(kind: str, subject: str, bodies: Mapping[str, str], markers: Markers) -> None:
    """Raise RenderError for a mail without a subject or an unsubscribe link."""
    if not subject:
        raise RenderError(
            "The mail has no subject.", hint=f"Correct the template email/{kind}/subject.txt."
        )
    for name, body in bodies.items():
        if markers.of(Slot.UNSUBSCRIBE) not in body:
            raise RenderError(
                f"The mail's {name} has no link to unsubscribe.",
                hint=f"Put {{{{ links.unsubscribe }}}} into the template email/{kind}/{name}.",
            )


def _fitting(
    content: DigestContent,
    values: Mapping[str, Any],
    environment: jinja2.Environment,
    markers: Markers,
) -> tuple[dict[str, Any], str]:
    """Return the selection and its HTML, with the most detail that is under the size limit."""
    for detail in selection.DETAILS:
        chosen = {"digest": selection.select(content, detail)}
        html = _html({**values, **chosen}, environment)
        if message.body_size(html, markers) < WIRE_LIMIT:
            return chosen, html
    raise RenderError(
        f"The digest is larger than {WIRE_LIMIT} octets even with its lead alone.",
        hint="Look for an enormous link, image address or template.",
    )


def _html(values: Mapping[str, Any], environment: jinja2.Environment) -> str:
    """Render the HTML body and inline its styles."""
    raw = render(environment, "email/digest/body.html", values)
    return inline(raw)


def inline(html: str) -> str:
    """Move styles into the elements, except media queries, and remove the indentation."""
    # Imported late: premailer imports cssutils and an HTTP client, and most commands render
    # nothing.
    from premailer import Premailer  # noqa: PLC0415

    inlined = Premailer(
        html,
        allow_network=False,
        base_url=None,
        disable_link_rewrites=True,
        disable_validation=True,
        # Otherwise premailer would replace width and height in pixels, which Outlook needs, by
        # those of "width:100%;height:auto".
        disable_basic_attributes=["width", "height"],
        cssutils_logging_level=logging.CRITICAL,
    ).transform(pretty_print=False)
    assert isinstance(inlined, str)
    if "<pre" in inlined:
        return inlined
    return re.sub(r"\n\s*", "\n", inlined)


def _values(content: DigestContent, brand: Brand, links: Links, markers: Markers) -> dict[str, Any]:
    return {
        "brand": brand,
        "links": links,
        "content": content,
        "slots": {slot.value: markers.of(slot) for slot in Slot},
        "light": colour.light(brand.accent),
        "dark": colour.dark(brand.accent),
        "month": month_of(content.period_on, content.covers_from),
        "notes": plaintext.Notes(),
        "is_page": False,
    }


def heading_of(subject: str, brand: Brand, links: Links, feedback_id: str | None) -> Heading:
    """Return the header values of a bulk mail: sender, list and unsubscription."""
    return Heading(
        sender=brand.sender,
        subject=subject,
        reply_to=brand.reply_to,
        list_id=brand.list_id,
        list_name=brand.name,
        unsubscribe=links.unsubscribe,
        unsubscribe_mailto=links.unsubscribe_mailto,
        feedback_id=feedback_id,
        event_headers=brand.event_headers,
    )
