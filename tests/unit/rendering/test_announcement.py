from __future__ import annotations

import email
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest
from filling import filled
from lxml import etree

from newsletter.errors import InvalidInput, RenderError
from newsletter.rendering import announcement, environment
from newsletter.rendering.compile import Rendered

HOSTILE = (
    '<script>alert(1)</script> <img src=x onerror="alert(1)"> [x](javascript:alert(1)) '
    "<a href='data:text/html,x' onclick=alert(1)>y</a> {{ brand.name }}"
)


def read(digests: SimpleNamespace, rendered: Rendered) -> EmailMessage:
    raw = filled(rendered.message, digests.READER)
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def parts(digests: SimpleNamespace, rendered: Rendered) -> list[str]:
    """Return text and HTML."""
    return [part.get_content() for part in read(digests, rendered).iter_parts()]


def test_it_has_every_header_of_a_mail_to_many(digests: SimpleNamespace) -> None:
    found = read(digests, digests.render(digests.ANNOUNCEMENT))

    leaving = f"https://miasfeed.example/unsubscribe/{digests.READER['unsubscribe']}"
    assert found["Subject"] == "We move to a new home"
    assert found["List-Unsubscribe"].startswith(f"<{leaving}>, <mailto:")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert found["List-Id"]
    assert found["Feedback-ID"]
    assert found["Precedence"] == "bulk"


def test_both_parts_have_the_words_the_links_and_the_footer(digests: SimpleNamespace) -> None:
    text, html = parts(digests, digests.render(digests.ANNOUNCEMENT))

    for part in (" ".join(text.split()), " ".join(html.split())):
        assert "We move to a new home" in part
        assert "23 November 2026" in part
        assert "https://miasfeed.example/move" in part
        assert "the digest comes as before" in part
        assert f"/unsubscribe/{digests.READER['unsubscribe']}" in part
        assert f"/preferences/{digests.READER['manage']}" in part
        assert "Harbour Street" in part
        # It goes to readers of every cadence.
        assert "You get this" not in part
    assert "- old links go on working." in text
    assert "[1] https://miasfeed.example/move" in text
    assert "<strong>1 January</strong>" in html


def test_its_page_is_for_everybody_and_has_no_links_of_a_reader(digests: SimpleNamespace) -> None:
    page = digests.render(digests.ANNOUNCEMENT).page

    assert "We move to a new home" in page
    assert "unsubscribe" not in page
    assert digests.NONCE not in page


@pytest.mark.parametrize(
    ("brand", "content", "words"),
    [
        ("BRAND", "ANNOUNCEMENT", ("23. November 2026", "LINKS", "Abmelden")),
        ("ARABIC_BRAND", "ARABIC_ANNOUNCEMENT", ("نوفمبر", 'dir="rtl"', "الروابط")),
    ],
)
def test_it_is_said_in_the_language_of_the_publication(
    digests: SimpleNamespace, brand: str, content: str, words: tuple[str, ...]
) -> None:
    language = {"BRAND": "de", "ARABIC_BRAND": "ar"}[brand]
    spoken = replace(getattr(digests, brand), language=language)

    said = "".join(parts(digests, digests.render(getattr(digests, content), spoken)))

    for word in words:
        assert word in said


def test_markup_in_it_is_inert_and_templates_in_it_are_words(digests: SimpleNamespace) -> None:
    content = replace(digests.ANNOUNCEMENT, subject=f"</title>{HOSTILE}", text=HOSTILE)

    rendered = digests.render(content)

    for html in (rendered.html, rendered.page):
        found = etree.HTML(html)
        assert not found.xpath("//script | //img | //*[@onerror or @onclick]")
        links = [str(one) for one in found.xpath("//a/@href")]
        assert all(one.startswith(("https://", "mailto:")) for one in links)
        assert "{{ brand.name }}" in html


def test_one_that_mailboxes_would_clip_is_refused(digests: SimpleNamespace) -> None:
    long = replace(digests.ANNOUNCEMENT, text="Many words. " * 8_000)

    with pytest.raises(InvalidInput, match="cut off its end"):
        digests.render(long)


def test_a_template_without_an_unsubscribe_link_is_refused(
    digests: SimpleNamespace, tmp_path: Path
) -> None:
    own = tmp_path / "email" / "announcement"
    own.mkdir(parents=True)
    (own / "body.txt").write_text("{{ content.text }}")

    with pytest.raises(RenderError, match="no link to unsubscribe"):
        announcement.announcement(
            digests.ANNOUNCEMENT,
            brand=digests.BRAND,
            links=digests.LINKS,
            markers=digests.MARKERS,
            environment=environment.build(tmp_path, "en"),
            feedback_id=None,
        )
