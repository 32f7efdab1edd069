"""The mail of one variant: the publication's brand and links around its articles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from filling import filled

from newsletter.cadences import Cadence
from newsletter.editions import compose
from newsletter.editions.compose import MailRenderer
from newsletter.publication import Publication
from newsletter.rendering.content import DigestContent, Related, Story
from newsletter.rendering.message import Slot
from newsletter.settings import Settings
from newsletter.tokens import CountedLink, Purpose

CONTENT = DigestContent(
    cadence="weekly",
    period_on=date(2026, 6, 1),
    covers_from=date(2026, 5, 25),
    covers_to=date(2026, 6, 1),
    stories=(Story(title="A headline", url="https://miasfeed.example/1", minutes=2),),
)
PUBLIC_ID = "abcdefghijklmnop"


def test_links_lead_to_the_publication_with_a_token_of_the_reader(
    settings: Callable[..., Settings],
) -> None:
    message = _filled(settings())

    assert "List-Unsubscribe: <https://news.miasfeed.example/unsubscribe/UNSUB>," in message
    assert "<mailto:digest@miasfeed.example?subject=unsubscribe%20UNSUB>" in message
    assert "https://news.miasfeed.example/preferences/MANAGE" in message


def test_links_to_articles_bear_the_parameters_of_the_settings_and_no_other_link_does(
    settings: Callable[..., Settings],
) -> None:
    related = (Related(title="Earlier", url="https://miasfeed.example/2?id=2#v3", minutes=2),)
    content = replace(CONTENT, related=related)
    made = settings(link_parameters="utm_source=digest&utm_medium=email")

    found = MailRenderer(Publication.of(made)).digest(content, public_id=PUBLIC_ID).text

    assert f"{CONTENT.stories[0].url}?utm_source=digest&utm_medium=email" in found
    assert "https://miasfeed.example/2?id=2&utm_source=digest&utm_medium=email#v3" in found
    assert found.count("utm_source") == len(CONTENT.stories) + 1


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "We count how often each article is opened"),
        ("de", "Wir zählen, wie oft jeder Artikel"),
        ("ar", "نُحصي عدد مرات فتح كل مقال"),
    ],
)
def test_a_mail_with_counted_links_says_so_and_leads_nowhere_else(
    settings: Callable[..., Settings], language: str, sentence: str
) -> None:
    related = (Related(title="Earlier", url="https://miasfeed.example/2", minutes=2),)
    content = replace(CONTENT, related=related, note="See [this](https://elsewhere.example/).")
    made = settings(language=language, count_clicks=True, link_parameters="utm_source=digest")

    rendered = MailRenderer(Publication.of(made)).digest(
        content, public_id=PUBLIC_ID, counted=[11, 12]
    )

    for body in (rendered.text, rendered.html, rendered.page):
        text = " ".join(body.split())
        found = {
            made.keyring().read_link(token)
            for token in re.findall(r"https://news\.miasfeed\.example/read/([\w.-]+)", text)
        }
        assert found == {
            CountedLink("weekly-2026-06-01", 11, "https://miasfeed.example/1?utm_source=digest"),
            CountedLink("weekly-2026-06-01", 12, "https://miasfeed.example/2?utm_source=digest"),
        }
        assert "https://elsewhere.example/" in text
        assert "https://miasfeed.example/1" not in text
        if body is not rendered.page:
            assert sentence in text
            assert "No tracking" not in text


def test_a_mail_is_byte_for_byte_the_same_while_nothing_is_counted(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose.secrets, "token_hex", lambda size: "0" * 2 * size)
    usual, off = (
        MailRenderer(Publication.of(settings(**changes))).digest(CONTENT, public_id=PUBLIC_ID)
        for changes in ({}, {"count_clicks": False})
    )

    assert usual == off
    assert "No tracking in this mail: no hidden images, no counted links." in usual.text
    assert "/read/" not in usual.text + usual.html + usual.page


def test_the_view_link_speaks_of_the_mailing_and_of_no_reader(
    settings: Callable[..., Settings],
) -> None:
    made = settings()
    message = _filled(made)

    token = message.partition("/view/")[2].partition("\n")[0].split('"')[0].strip()
    bearer = made.keyring().read(Purpose.VIEW, token[:64], now=datetime(2026, 6, 1, tzinfo=UTC))

    assert (bearer.public_id, bearer.generation) == (PUBLIC_ID, 0)


def test_no_two_mailings_have_the_same_markers(settings: Callable[..., Settings]) -> None:
    renderer = MailRenderer(Publication.of(settings()))

    first, second = (renderer.digest(CONTENT, public_id=PUBLIC_ID) for _ in range(2))

    assert first.text != second.text
    assert renderer.publication.templates is renderer.publication.templates


@pytest.mark.parametrize(
    ("domain", "is_kept"),
    [("mias.example", True), ("a.de", False), ("d" * 16, False)],
    ids=["fits", "too short", "too long"],
)
def test_the_feedback_id_ends_in_a_sender_of_5_to_15_characters(domain: str, is_kept: bool) -> None:
    found = compose.feedback_id(Cadence.WEEKLY, date(2026, 6, 1), domain)

    edition, cadence, kind, last = found.split(":")
    assert (edition, cadence, kind) == ("weekly-2026-06-01", "weekly", "digest")
    assert 5 <= len(last) <= 15
    assert (last == domain) is is_kept
    assert found == compose.feedback_id(Cadence.WEEKLY, date(2026, 6, 1), domain)


def test_the_brand_is_made_of_the_settings(settings: Callable[..., Settings]) -> None:
    brand = settings(
        site_url=None,
        logo_url="https://miasfeed.example/logo.png",
        reply_to="Editors <editors@bücher.example>",
    ).brand()

    assert brand.sender == "Mia's Feed <digest@miasfeed.example>"
    assert brand.reply_to == "Editors <editors@xn--bcher-kva.example>"
    assert brand.list_id == "digest.miasfeed.example"
    assert brand.site_url == "https://news.miasfeed.example"
    assert brand.logo is not None
    assert (brand.logo.alt, brand.logo.width) == ("Mia's Feed", 160)


def test_a_publication_without_a_logo_or_reply_address_has_none(
    settings: Callable[..., Settings],
) -> None:
    brand = settings(why="Because.").brand()

    assert (brand.logo, brand.reply_to, brand.why) == (None, None, "Because.")


def _filled(settings: Settings) -> str:
    rendered = MailRenderer(Publication.of(settings)).digest(CONTENT, public_id=PUBLIC_ID)
    values = {
        Slot.ADDRESS: "reader@example.org",
        Slot.MESSAGE_ID: "1@miasfeed.example",
        Slot.DATE: "Mon, 01 Jun 2026 07:00:00 +0000",
        Slot.SINCE: "1 May 2026",
        Slot.UNSUBSCRIBE: "UNSUB",
        Slot.MANAGE: "MANAGE",
        Slot.CONFIRM: "CONFIRM",
        Slot.ERASE: "ERASE",
        Slot.DATA: "DATA",
    }
    return filled(rendered.message, values).decode().replace("=\r\n", "")
