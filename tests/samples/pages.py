"""Pages and letters to look at and to test with, in three languages.

Loaded by path (`runpy.run_path`), because tests are not a package.
"""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import jinja2

from newsletter.rendering import environment, letter
from newsletter.rendering.letter import Latest
from newsletter.rendering.message import Slot
from newsletter.web import pages
from newsletter.web.pages import Choice, Site

DIGESTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("digests.py"))))
LANGUAGES = ("en", "de", "ar")
ZONE = ZoneInfo("Europe/Berlin")
BASE_URL = "https://news.miasfeed.example"
#: A manage, unsubscribe or confirm token, as long as they are.
TOKEN = DIGESTS.READER[Slot.MANAGE]
MASKED = "m…@example.org"

BRANDS = {
    "en": DIGESTS.BRAND,
    "de": replace(
        DIGESTS.BRAND,
        language="de",
        tagline="Nachrichten aus Medizin und Forschung",
        why="",
        postal_address="Mia’s Feed Verlag\nHafenstraße 12\n20457 Hamburg",
    ),
    "ar": replace(DIGESTS.ARABIC_BRAND, why=""),
}
LINKS = replace(
    DIGESTS.LINKS,
    view=None,
    confirm=f"https://news.miasfeed.example/confirm/{DIGESTS.MARKERS.of(Slot.CONFIRM)}",
    erase=f"https://news.miasfeed.example/erase/{DIGESTS.MARKERS.of(Slot.ERASE)}",
    data=f"https://news.miasfeed.example/data/{DIGESTS.MARKERS.of(Slot.DATA)}",
    new_address=f"{BASE_URL}/new-address/{DIGESTS.MARKERS.of(Slot.NEW_ADDRESS)}",
)

DAILY = Choice(cadence="daily", at=datetime(2026, 11, 23, 7, tzinfo=ZONE))
WEEKLY = Choice(cadence="weekly", at=datetime(2026, 11, 30, 7, tzinfo=ZONE))
MONTHLY = Choice(cadence="monthly", at=datetime(2026, 12, 1, 7, tzinfo=ZONE))
CHOICES = (DAILY, WEEKLY, MONTHLY)
TITLES = {
    "en": "How Tumour Cells That Travel With Immune Cells Seed New Cancers, and 4 more",
    "de": "Wie Tumorzellen mit Immunzellen reisen, und 4 weitere",
    "ar": "كيف تنتقل خلايا الأورام برفقة خلايا المناعة",
}

PREFERENCES = pages.Preferences(
    manage=TOKEN,
    unsubscribe=TOKEN,
    masked=MASKED,
    cadence="daily",
    choices=CHOICES,
    since=date(2025, 9, 2),
    pauses=(date(2026, 11, 29), date(2026, 12, 22), date(2027, 2, 22)),
    pause_from=date(2026, 11, 23),
    pause_to=date(2027, 11, 22),
)
PAUSE = pages.Pause(until=date(2026, 12, 22))
NEW_ADDRESS = pages.NewAddress(token=TOKEN, masked=MASKED, masked_new="n…@example.net")
ADDRESS_CHANGED = pages.AddressChanged(
    manage=TOKEN, masked="n…@example.net", cadence="weekly", next_at=WEEKLY.at
)
SAVED = pages.Saved(
    manage=TOKEN,
    change="cadence",
    cadence="monthly",
    next_at=MONTHLY.at,
    undo={"action": "cadence", "cadence": "daily"},
)
UNSUBSCRIBE = pages.Unsubscribe(
    token=TOKEN,
    manage=TOKEN,
    masked=MASKED,
    cadence="daily",
    slower=WEEKLY,
    pause_until=date(2026, 12, 22),
)


def latest(language: str) -> Latest:
    """The newest edition of a publication in that language."""
    url = "https://news.miasfeed.example/editions/weekly-2026-11-16"
    return Latest(title=TITLES[language], url=url)


def gallery(language: str) -> dict[str, tuple[str, object]]:
    """Every page in every state that is looked at: the template's name and its values."""
    subscribe = pages.Subscribe(form=TOKEN, choices=CHOICES)
    confirmed = pages.Confirmed(masked=MASKED, choice=WEEKLY, manage=TOKEN, latest=latest(language))
    entries = tuple(
        pages.Entry(
            slug=f"weekly-2026-11-{day:02}",
            cadence="weekly",
            period_on=date(2026, 11, day),
            title=TITLES[language],
            stories=stories,
        )
        for day, stories in ((16, 9), (9, 2), (2, 1))
    )
    return {
        "subscribe": ("subscribe", subscribe),
        "subscribe-address": (
            "subscribe",
            replace(subscribe, problem="address", address='"><b>mia@', cadence="daily"),
        ),
        "subscribe-cadence": ("subscribe", replace(subscribe, problem="cadence", cadence="")),
        "subscribe-once-more": (
            "subscribe",
            replace(subscribe, problem="once_more", address="mia@example.org"),
        ),
        "asked": ("asked", pages.Asked()),
        "confirm": ("confirm", pages.Confirm(token=TOKEN, masked=MASKED, choice=WEEKLY)),
        "confirm-paused": (
            "confirm",
            pages.Confirm(token=TOKEN, masked=MASKED, choice=WEEKLY, pause=PAUSE),
        ),
        "confirmed": ("confirmed", confirmed),
        "confirmed-paused": (
            "confirmed",
            replace(confirmed, was_already=True, latest=None, pause=PAUSE),
        ),
        "confirmed-open": (
            "confirmed",
            replace(
                confirmed,
                was_already=True,
                latest=None,
                choice=Choice(cadence="weekly", at=None),
                pause=pages.Pause(),
            ),
        ),
        "confirmed-again": ("confirmed", replace(confirmed, was_already=True, latest=None)),
        "expired": ("expired", pages.Expired(token=TOKEN, age=timedelta(days=4, hours=2))),
        "expired-own-data": ("expired", pages.Expired(token=None, age=timedelta(days=4))),
        "invalid": ("invalid", pages.Invalid()),
        "outdated": ("invalid", pages.Invalid(is_outdated=True, has_returned=True)),
        "moved": ("invalid", pages.Invalid(is_outdated=True, has_moved=True)),
        "ended": ("invalid", pages.Invalid(is_outdated=True)),
        "preferences": ("preferences", PREFERENCES),
        "preferences-paused": (
            "preferences",
            replace(PREFERENCES, pause=PAUSE),
        ),
        "preferences-open": (
            "preferences",
            replace(
                PREFERENCES,
                pause=pages.Pause(),
                since=None,
                choices=[replace(choice, at=None) for choice in CHOICES],
            ),
        ),
        "preferences-moving": (
            "preferences",
            replace(PREFERENCES, moving_to="n…@example.net", moving_until=date(2026, 11, 25)),
        ),
        "preferences-new-address": (
            "preferences",
            replace(PREFERENCES, problem="new_address", typed='"><b>mia@'),
        ),
        "address-asked": (
            "address_asked",
            pages.AddressAsked(manage=TOKEN, masked="n…@example.net"),
        ),
        "new-address": ("new_address", NEW_ADDRESS),
        "new-address-reader": ("new_address", replace(NEW_ADDRESS, obstacle="reader")),
        "new-address-suppressed": ("new_address", replace(NEW_ADDRESS, obstacle="suppressed")),
        "address-changed": ("address_changed", ADDRESS_CHANGED),
        "address-changed-open": (
            "address_changed",
            replace(ADDRESS_CHANGED, next_at=None, pause=pages.Pause()),
        ),
        "preferences-until": ("preferences", replace(PREFERENCES, problem="until")),
        "mailed-erase": ("mailed", pages.Mailed(act="erase", masked=MASKED)),
        "mailed-data": ("mailed", pages.Mailed(act="data", masked=MASKED)),
        "own-data-erase": ("own_data", pages.OwnData(act="erase", token=TOKEN, masked=MASKED)),
        "own-data": ("own_data", pages.OwnData(act="data", token=TOKEN, masked=MASKED)),
        "saved": ("saved", SAVED),
        "saved-pause": (
            "saved",
            replace(
                SAVED,
                change="pause",
                pause=PAUSE,
                next_at=datetime(2026, 12, 23, 7, tzinfo=ZONE),
                undo={"action": "resume"},
            ),
        ),
        "saved-open": (
            "saved",
            replace(SAVED, change="pause", next_at=None, undo=None, pause=pages.Pause()),
        ),
        "saved-resume": ("saved", replace(SAVED, change="resume")),
        "saved-back": ("saved", replace(SAVED, change="back", undo=None)),
        "saved-nothing": ("saved", replace(SAVED, change="nothing", undo=None)),
        "unsubscribe": ("unsubscribe", UNSUBSCRIBE),
        "unsubscribe-paused": (
            "unsubscribe",
            replace(UNSUBSCRIBE, pause_until=None, pause=PAUSE),
        ),
        "unsubscribe-open": (
            "unsubscribe",
            replace(
                UNSUBSCRIBE,
                slower=replace(WEEKLY, at=None),
                pause_until=None,
                pause=pages.Pause(),
            ),
        ),
        "unsubscribe-monthly": (
            "unsubscribe",
            replace(UNSUBSCRIBE, cadence="monthly", slower=None, pause_until=None),
        ),
        "goodbye": ("goodbye", pages.Goodbye(token=TOKEN)),
        "goodbye-again": (
            "goodbye",
            pages.Goodbye(token=TOKEN, was_already=True, can_undo=False),
        ),
        "forgotten": ("forgotten", pages.Forgotten()),
        "archive": (
            "archive",
            pages.Archive(entries=entries, newer="/editions?page=1", older="/editions?page=3"),
        ),
        "archive-empty": ("archive", pages.Archive(entries=())),
        "not-found": ("not_found", pages.NotFound()),
        "error": ("error", pages.Error()),
        "refused": ("error", pages.Error(is_ours=False)),
        "too-many": ("too_many", pages.TooMany()),
        "too-many-in": ("too_many", pages.TooMany(retry_after=timedelta(minutes=12))),
    }


def build(language: str, base_url: str = BASE_URL) -> jinja2.Environment:
    """The templates of a publication's pages in that language."""
    return pages.build(Site(brand=BRANDS[language], base_url=base_url, has_archive=True))


def page(name: str, language: str, templates: jinja2.Environment | None = None) -> str:
    """One page of the gallery, rendered."""
    template, values = gallery(language)[name]
    return pages.render(templates or build(language), template, values)


def box(language: str) -> str:
    """The plain form on a page of somebody else."""
    form = pages.render(build(language), "box", pages.Box())
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>Box</title>'
        '<meta name="viewport" content="width=device-width">'
        f"</head><body><main><h1>An article</h1>{form}</main></body></html>"
    )


def script(language: str, base_url: str = BASE_URL, *, has_proof: bool = False) -> str:
    """What /embed.js answers."""
    page = pages.Script(choices=CHOICES, has_proof=has_proof)
    return pages.script(build(language, base_url), page)


def edition(language: str) -> str:
    """A digest in the archive."""
    content = DIGESTS.ARABIC if language == "ar" else DIGESTS.WEEKLY
    mail = DIGESTS.render(content, BRANDS[language]).page
    shown = pages.edition(build(language), mail, pages.Edition(is_public=True))
    return shown.replace(DIGESTS.PICTURE_URL, DIGESTS.PICTURE)


def letters(language: str) -> dict[str, letter.Letter]:
    """Every letter in every state that is looked at."""
    next_at = MONTHLY.at
    return {
        "confirm": letter.Confirm(cadence="weekly"),
        "welcome": letter.Welcome(cadence="daily", first_at=DAILY.at, latest=latest(language)),
        "welcome-first": letter.Welcome(cadence="monthly", first_at=next_at),
        "present": letter.Present(cadence="monthly", next_at=next_at),
        "present-paused": letter.Present(
            cadence="weekly", next_at=WEEKLY.at, is_paused=True, paused_until=date(2026, 11, 29)
        ),
        "present-open": letter.Present(cadence="weekly", next_at=None, is_paused=True),
        "goodbye": letter.Goodbye(),
        "erase": letter.Erase(),
        "data": letter.Data(),
        "new-address": letter.NewAddress(),
        "old-address": letter.OldAddress(cadence="weekly"),
        "old-address-done": letter.OldAddress(cadence="weekly", is_done=True),
    }


def draft(name: str, language: str) -> letter.Draft:
    """One letter, in words."""
    return letter.draft(
        letters(language)[name],
        brand=BRANDS[language],
        links=LINKS,
        markers=DIGESTS.MARKERS,
        environment=environment.build(None, language),
    )


def mail(name: str, language: str) -> str:
    """One letter's HTML as its reader gets it."""
    html = draft(name, language).compile().html
    for slot in Slot:
        value = DIGESTS.READER.get(slot, TOKEN)
        html = html.replace(DIGESTS.MARKERS.of(slot), escape(value))
    return html
