from __future__ import annotations

import email
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest
from filling import filled

from newsletter.errors import RenderError
from newsletter.rendering import correction, environment
from newsletter.rendering.compile import Rendered

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)">'


def read(digests: SimpleNamespace, rendered: Rendered) -> EmailMessage:
    """Return the mail as a mail program parses it."""
    raw = filled(rendered.message, digests.READER)
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def say(digests: SimpleNamespace, *paragraphs: str) -> Rendered:
    rendered: Rendered = digests.render(replace(digests.CORRECTION, paragraphs=paragraphs))
    return rendered


def test_it_has_every_header_of_a_mail_to_many(digests: SimpleNamespace) -> None:
    found = read(digests, digests.render(digests.CORRECTION))

    leaving = f"https://miasfeed.example/unsubscribe/{digests.READER['unsubscribe']}"
    assert found["List-Unsubscribe"].startswith(f"<{leaving}>, <mailto:")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert found["List-Id"]
    assert found["Feedback-ID"]
    assert found["Precedence"] == "bulk"
    assert found["Auto-Submitted"] == "auto-generated"


def test_both_parts_say_which_article_what_was_wrong_and_how_to_leave(
    digests: SimpleNamespace,
) -> None:
    content = digests.CORRECTION

    text, html = (
        part.get_content() for part in read(digests, digests.render(content)).iter_parts()
    )

    for part in (" ".join(text.split()), " ".join(html.split())):
        assert "This is about an article in our edition of 23 November 2026:" in part
        assert content.title in part
        assert content.url in part
        assert content.paragraphs[0] in part
        assert f"/unsubscribe/{digests.READER['unsubscribe']}" in part
        assert f"/preferences/{digests.READER['manage']}" in part
        assert "Harbour Street" in part
        # It is no edition of theirs, and they may have another rhythm by now.
        assert "You get this" not in part


def test_the_subject_names_the_article_or_is_the_publishers_own(digests: SimpleNamespace) -> None:
    long = replace(digests.CORRECTION, title="Bones and " * 40)
    own = replace(digests.CORRECTION, subject="Please read: the dose is 5 mg, not 50")

    subject = digests.render(digests.CORRECTION).message.subject
    assert subject == "Correction: A Small Peptide Helps Bone to Grow Back in Osteoporosis"
    assert len(digests.render(long).message.subject) < 90
    assert digests.render(own).message.subject == "Please read: the dose is 5 mg, not 50"


@pytest.mark.parametrize(
    ("brand", "content", "subject", "link"),
    [
        ("BRAND", "CORRECTION", "Berichtigung: A Small", "Den Artikel lesen"),
        ("ARABIC_BRAND", "ARABIC_CORRECTION", "تصحيح: جزيء", "قراءة المقال"),
    ],
)
def test_it_speaks_the_language_of_the_publication(
    digests: SimpleNamespace, brand: str, content: str, subject: str, link: str
) -> None:
    chosen = getattr(digests, brand)
    language = "de" if chosen.language == "en" else chosen.language

    rendered = digests.render(getattr(digests, content), replace(chosen, language=language))

    assert rendered.message.subject.startswith(subject)
    assert link in rendered.html
    assert "edition of" not in rendered.text


def test_whatever_is_in_the_words_it_is_text(digests: SimpleNamespace) -> None:
    hostile = replace(
        digests.CORRECTION, title=HOSTILE, paragraphs=(f"{HOSTILE} https://x.example/{HOSTILE}",)
    )

    rendered = digests.render(hostile)

    assert "<script>alert" not in rendered.html
    assert "<img src=x" not in rendered.html
    assert "&lt;script&gt;alert" in rendered.html
    assert "<script>alert" in rendered.text
    assert "&lt;" not in rendered.text


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("See https://a.example/b.", "https://a.example/b"),
        ("(https://a.example/b?c=1&d=2#e)", "https://a.example/b?c=1&amp;d=2#e"),
        ("https://a.example/b, and more", "https://a.example/b"),
        ("“https://a.example/b/”", "https://a.example/b/"),
        ("انظر https://a.example/b.", "https://a.example/b"),
    ],
)
def test_a_link_in_the_words_is_one_and_ends_before_the_sentence_does(
    digests: SimpleNamespace, text: str, url: str
) -> None:
    rendered = say(digests, text)

    assert f'href="{url}"' in rendered.html
    assert f">{url}</a>" in rendered.html
    assert text in rendered.text


@pytest.mark.parametrize("text", ["javascript:alert(1)", "http://", "www.a.example", "a@b.example"])
def test_what_is_no_whole_link_stays_text(digests: SimpleNamespace, text: str) -> None:
    plain, linked = say(digests, "Nothing."), say(digests, text)

    assert linked.html.count("<a ") == plain.html.count("<a ")
    assert f">{text}</p>" in linked.html


@pytest.mark.parametrize("name", ["body.html", "body.txt"])
def test_a_publishers_own_template_cannot_leave_out_the_way_to_unsubscribe(
    digests: SimpleNamespace, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "email" / "correction"
    folder.mkdir(parents=True)
    (folder / name).write_text("<html><body>{{ title }}</body></html>", "utf-8")

    with pytest.raises(RenderError, match=f"{name} has no link to unsubscribe") as caught:
        correction.correction(
            digests.CORRECTION,
            brand=digests.BRAND,
            links=digests.LINKS,
            markers=digests.MARKERS,
            environment=environment.build(tmp_path, "en"),
            feedback_id=None,
        )

    assert f"email/correction/{name}" in str(caught.value.hint)
