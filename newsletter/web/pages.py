"""Readers' pages: the values of each, the fields of its forms, and how it is rendered.

A page is a dataclass here and a template of the same name in templates/web; a route makes the
dataclass and sends the result of `render`. Nothing here depends on requests, settings or tables.

    environment = pages.build(site, templates=settings.templates)      # once, at start-up
    pages.render(environment, "subscribe", pages.Subscribe(...))       # -> the whole HTML page
    pages.policy(environment)                  # -> Content-Security-Policy of every page
    pages.script(environment, pages.Script(...))                       # -> /embed.js
    pages.edition(environment, mail, pages.Edition(...))               # -> an archived mail
    pages.MAIL_POLICY                          # -> Content-Security-Policy of an archived mail

Instants are aware and in the publication's time zone. Every form is POST, urlencoded:

    page          its forms
    subscribe     /subscribe                    address cadence form homepage
    confirm       /confirm/{token}              (no field)
    expired       /confirm/{token}/again        (no field) a new confirm letter, answered by `asked`
    preferences   /preferences/{manage}         action=cadence  cadence
                                                action=pause    until (a date of `pauses`) or
                                                                until=other and until_date
                                                action=resume
                  /preferences/{manage}/erase   (no field) a letter with a link; `mailed`
                  /preferences/{manage}/data    (no field) the same
                  /preferences/{manage}/address address, or call_off=yes; answered by
                                                `address_asked`, or the page again
                  links: GET /unsubscribe/{token}
    own_data      /erase/{token}                (no field) answered by `forgotten`
                  /data/{token}                 (no field) answered by JSON to save
    new_address   /new-address/{token}          (no field) answered by `address_changed`
    saved         /preferences/{manage}         the undo: one of the three actions above
    unsubscribe   /preferences/{manage}         action=cadence cadence; action=pause until
                  /unsubscribe/{token}          (no field) unsubscribes, as the POST of RFC 8058
    goodbye       /unsubscribe/{token}/undo     (no field) answered by `saved` with change="back"
    box           /subscribe                    address cadence homepage; no `form`, which a static
                                                page of another site cannot have. Answered by
                                                `subscribe`, filled in, problem="once_more", 200
    embed.js      GET /subscriptions/form       -> {"form": "..."}; requested at the first focus.
                                                With "challenge" if a proof of work is required:
                                                its solution goes into the field `altcha`
                  POST /subscriptions           address cadence form homepage, urlencoded, with
                                                Accept: application/json and no preflight. Responses
                                                need Access-Control-Allow-Origin: *
                                                200 {"status": "asked"}
                                                422 {"status": "refused", "problem": "address"}
                                                429 {"status": "too_many"}
                                                If fetch is not allowed on the page, the form goes
                                                to /subscribe as that of `box` does.

`form` is the signed form token; `homepage` is the honeypot: people leave it empty, and a form with
a filled one is shown again without it. The pages have the Referrer-Policy `no-referrer`, so a
form's Origin header is "null".
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from newsletter.rendering import colour
from newsletter.rendering import environment as templating
from newsletter.rendering.content import Brand
from newsletter.rendering.letter import Latest

#: The policy of mail shown on the web: pictures and styles, no scripts, forms or framing.
MAIL_POLICY = (
    "default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The texts of the box, from the settings; empty ones have defaults in the site's language."""

    headline: str = ""
    sentence: str = ""
    button: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The values that all pages of a publication share."""

    brand: Brand
    #: The URL of these pages, without a trailing slash.
    base_url: str
    words: Words = Words()
    #: Whether /editions is open to everyone.
    has_archive: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One cadence, and when its next digest is due."""

    cadence: str
    #: The time of the next digest; None during a pause without an end.
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pause, shown on each page that is reached by the link of a paused reader."""

    #: The date on which the pause ends; None if it ends only when the reader resumes.
    until: date | None = None


@dataclass(frozen=True, kw_only=True)
class Subscribe:
    """GET /subscribe; again with status 422 and a problem after a POST that cannot be used."""

    form: str
    #: Daily, weekly, monthly: the radio buttons in this order.
    choices: Sequence[Choice]
    cadence: str = "weekly"
    #: The proof of work that the browser has to solve (ALTCHA).
    challenge: Mapping[str, Any] | None = None
    #: The typed address; shown again, escaped.
    address: str = ""
    #: address: missing or invalid; cadence: none of the three; once_more: the form token is
    #: missing, too young or too old, or the honeypot was filled; the reader has to submit again.
    problem: Literal["address", "cadence", "once_more"] | None = None
    #: Whether the form has the honeypot; not after a browser has filled it automatically.
    has_trap: bool = True


@dataclass(frozen=True, kw_only=True)
class Asked:
    """After each valid sign-up: the same bytes whether the address is known or not."""


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """GET /confirm/{token}: one button."""

    token: str
    #: "m…@example.org": the link may have been forwarded.
    masked: str
    choice: Choice
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """POST /confirm/{token}, the first time and every later one."""

    masked: str
    choice: Choice
    #: A manage token.
    manage: str
    latest: Latest | None = None
    was_already: bool = False
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class Expired:
    """A confirmation link that is older than 72 hours."""

    #: The token of a sign-up, with which the letter can be requested again; None for other links.
    token: str | None
    age: timedelta


@dataclass(frozen=True, kw_only=True)
class Invalid:
    """A link that is not one of ours (404), or one of an earlier consent (outdated)."""

    is_outdated: bool = False
    #: Whether the reader of the link has subscribed again since.
    has_returned: bool = False
    #: Whether the reader's address has changed since.
    has_moved: bool = False


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """GET /preferences/{manage}."""

    manage: str
    #: An unsubscribe token, for the link to /unsubscribe.
    unsubscribe: str
    masked: str
    cadence: str
    #: Each cadence with the time of its next digest, after the pause if there is one.
    choices: Sequence[Choice]
    since: date | None = None
    pause: Pause | None = None
    #: The new address to be confirmed, masked, and when its link expires.
    moving_to: str | None = None
    moving_until: date | None = None
    #: The dates offered for a pause, soonest first (in a week, a month, three months).
    pauses: Sequence[date] = ()
    #: The first and the last date that `until_date` may be.
    pause_from: date
    pause_to: date
    #: The typed new address; shown again, escaped.
    typed: str = ""
    #: until: no valid date; cadence: none of the three; new_address: no valid address.
    problem: Literal["until", "cadence", "new_address"] | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """After a POST to /preferences/{manage}, or an undo: what happens next, and when."""

    manage: str
    change: Literal["cadence", "pause", "resume", "back", "nothing"]
    cadence: str
    #: The next digest, after the pause if there is one; None if there is none.
    next_at: datetime | None
    pause: Pause | None = None
    #: The undo: the fields of a POST to the same URL, such as {"action": "resume"}.
    undo: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Unsubscribe:
    """GET /unsubscribe/{token}: offers a slower cadence, a pause, or to unsubscribe."""

    token: str
    manage: str
    masked: str
    cadence: str
    #: The next slower cadence, if there is one.
    slower: Choice | None = None
    #: The last day of the pause that is offered; None if the reader is paused already.
    pause_until: date | None = None
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class Goodbye:
    """POST /unsubscribe/{token}, and GET if the reader is unsubscribed already."""

    token: str
    was_already: bool = False
    can_undo: bool = True


#: Requests of a reader that have to be confirmed by a link in a letter to their address.
OwnDataRequest = Literal["erase", "data"]


@dataclass(frozen=True, kw_only=True)
class Mailed:
    """POST /preferences/{manage}/erase or data; also if a letter was already sent that day."""

    act: OwnDataRequest
    masked: str


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """GET /erase/{token} and /data/{token}: one button."""

    act: OwnDataRequest
    token: str
    masked: str


@dataclass(frozen=True, kw_only=True)
class AddressAsked:
    """POST /preferences/{manage}/address; the same page whether the address is known or not."""

    manage: str
    masked: str


@dataclass(frozen=True, kw_only=True)
class NewAddress:
    """GET /new-address/{token}: one button."""

    token: str
    #: The present address and the new one.
    masked: str
    masked_new: str
    #: reader: the new address is subscribed already; suppressed: the new address must not be
    #: mailed.
    obstacle: Literal["reader", "suppressed"] | None = None


@dataclass(frozen=True, kw_only=True)
class AddressChanged:
    """POST /new-address/{token}, the first time and every later one."""

    manage: str
    masked: str
    cadence: str
    #: The next digest, after the pause if there is one; None if there is none.
    next_at: datetime | None
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """POST /erase/{token}."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One edition in the archive."""

    slug: str
    cadence: str
    period_on: date
    title: str
    stories: int


@dataclass(frozen=True, kw_only=True)
class Archive:
    """GET /editions, newest first."""

    entries: Sequence[Entry]
    #: URLs of the pages with newer and older editions.
    newer: str | None = None
    older: str | None = None


@dataclass(frozen=True, kw_only=True)
class Edition:
    """The bar over an archived mail."""

    #: Whether the page links to the archive; False for "view in browser" while the archive is
    #: closed.
    is_public: bool = False
    #: Whether links to articles on the page are counted; the bar then says so.
    are_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class NotFound:
    """The page for a URL that does not exist (404)."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """500 and other failures of the server; 413 and other refusals with `is_ours` False."""

    is_ours: bool = True


@dataclass(frozen=True, kw_only=True)
class TooMany:
    """The page for too many requests (429)."""

    #: The time until the next request is possible, if known.
    retry_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Box:
    """The plain HTML form to paste into a page without scripts."""

    cadence: str = "weekly"


@dataclass(frozen=True, kw_only=True)
class Script:
    """GET /embed.js: may be cached only for minutes, because it contains dates."""

    choices: Sequence[Choice]
    cadence: str = "weekly"
    #: Whether a proof of work is required: the box then imports /proof.js.
    has_proof: bool = False


def build(site: Site, *, templates: Path | None = None) -> jinja2.Environment:
    """Return the environment of a publication's pages; its own templates override ours."""
    environment = templating.build(templates, site.brand.language)
    # Scripts are served as UTF-8; \\u escapes would triple the size of Arabic.
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    environment.globals.update(
        site=site, light=colour.light(site.brand.accent), dark=colour.dark(site.brand.accent)
    )
    style = templating.render(environment, "web/_layout/style.css", {})
    environment.globals["style"] = Markup(re.sub(r"\n\s*", "\n", style).strip())  # noqa: S704 - our own
    return environment


def render(environment: jinja2.Environment, name: str, page: object) -> str:
    """Render a page by the name of its template, with its values."""
    return templating.render(environment, f"web/{name}.html", {"page": page})


def policy(environment: jinja2.Environment, *, has_proof: bool = False) -> str:
    """Return the Content-Security-Policy of all pages: one style, by its hash, and no script.

    With `has_proof`, the script of the proof of work is allowed.
    """
    digest = hashlib.sha256(str(environment.globals["style"]).encode()).digest()
    site = environment.globals["site"]
    assert isinstance(site, Site)
    images = f"data: {_origin(site.brand.logo.url)}" if site.brand.logo else "data:"
    # A path may contain characters that end a source in a policy.
    script = f"{site.base_url}/proof.js".replace(";", "%3B").replace(",", "%2C")
    scripts = f"script-src {script}; " if has_proof else ""
    return (
        f"default-src 'none'; {scripts}style-src 'sha256-{b64encode(digest).decode()}'; "
        f"img-src {images}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def script(environment: jinja2.Environment, page: Script) -> str:
    """Render /embed.js, with the texts of the box and the dates of the first digests."""
    found = templating.render(environment, "web/embed.js", {"page": page})
    return re.sub(r"\n\s*", "\n", found).strip() + "\n"


def proof_of_work_script(environment: jinja2.Environment) -> str:
    """Render /proof.js."""
    return templating.render(environment, "web/proof.js", {})


def edition(environment: jinja2.Environment, mail: str, page: Edition) -> str:
    """Return a mail as a page with a bar above it; `mail` must not contain links of a reader."""
    bar = render(environment, "edition", page)
    head, body, rest = re.split(r"(<body[^>]*>)", mail, maxsplit=1)
    return f"{head}{body}\n{bar}{rest}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
