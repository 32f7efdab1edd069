from __future__ import annotations

import email
import runpy
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from filling import filled

from newsletter.errors import RenderError
from newsletter.rendering import environment, letter
from newsletter.rendering.message import Markers, Slot

LETTERS = (
    "confirm",
    "welcome",
    "welcome-first",
    "present",
    "present-paused",
    "goodbye",
    "erase",
    "data",
    "new-address",
    "old-address",
)
WITH_A_LIST = {"welcome", "welcome-first", "present", "present-paused", "old-address"}


@pytest.fixture(scope="module")
def samples() -> SimpleNamespace:
    path = Path(__file__).parents[2] / "samples" / "pages.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


def read(samples: SimpleNamespace, name: str, language: str = "en") -> EmailMessage:
    """One letter as its reader's mail program gets it."""
    values = dict.fromkeys(Slot, samples.TOKEN) | samples.DIGESTS.READER
    raw = filled(samples.draft(name, language).compile().message, values)
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def parts(samples: SimpleNamespace, name: str, language: str = "en") -> tuple[str, str]:
    text, html = read(samples, name, language).iter_parts()
    return text.get_content(), html.get_content()


def visible(html: str) -> str:
    class Text(HTMLParser):
        found = ""

        def handle_data(self, data: str) -> None:
            self.found += f" {data}"

    parser = Text()
    parser.feed(html)
    return " ".join(parser.found.split())


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("confirm", "Please confirm your subscription to Mia’s Feed"),
        ("welcome", "Your first digest comes Monday 23 November, 07:00"),
        ("present", "You are subscribed to Mia’s Feed already"),
        ("goodbye", "You have unsubscribed from Mia’s Feed"),
        ("erase", "Erase your data at Mia’s Feed?"),
        ("data", "Your data at Mia’s Feed"),
        ("new-address", "Please confirm your new address for Mia’s Feed"),
        ("old-address-done", "Your address for Mia’s Feed has changed"),
        ("old-address", "A change of your address for Mia’s Feed was asked for"),
    ],
)
def test_the_subject_says_what_it_is(samples: SimpleNamespace, name: str, subject: str) -> None:
    found = read(samples, name)

    assert found["Subject"] == subject
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Precedence"] is None


@pytest.mark.parametrize("name", LETTERS)
def test_only_a_reader_can_leave(samples: SimpleNamespace, name: str) -> None:
    found = read(samples, name)

    assert (found["List-Unsubscribe"] is not None) == (name in WITH_A_LIST)
    assert (found["List-Unsubscribe-Post"] is not None) == (name in WITH_A_LIST)
    assert (found["List-Id"] is not None) == (name in WITH_A_LIST)


@pytest.mark.parametrize("name", ["erase", "data"])
def test_a_letter_about_ones_own_data_has_one_link_and_names_the_way_out(
    samples: SimpleNamespace, name: str
) -> None:
    text, html = parts(samples, name)

    assert text.count("https://") == 1
    assert f"https://news.miasfeed.example/{name}/{samples.TOKEN}" in text
    assert "/unsubscribe/" not in html
    assert "/preferences/" not in html
    for part in (text, visible(html)):
        assert "The link works for 72 hours." in part
        assert "If it was not you, do nothing:" in part


def test_a_confirm_letter_has_one_link_that_does_something(samples: SimpleNamespace) -> None:
    text, html = parts(samples, "confirm")

    assert text.count("https://") == 1
    assert f"https://news.miasfeed.example/confirm/{samples.TOKEN}" in text
    assert "/unsubscribe/" not in html
    assert "/preferences/" not in html
    for part in (text, visible(html)):
        assert "The link works for 72 hours." in part
        assert "If it was not you, do nothing: you will hear no more from us." in part
        assert "Once a week" in part


def test_a_confirm_letters_button_is_drawn_for_outlook_too(samples: SimpleNamespace) -> None:
    _, html = parts(samples, "confirm")

    link = f'href="https://news.miasfeed.example/confirm/{samples.TOKEN}"'
    assert f"<v:roundrect {link}" in html
    assert f'class="button press" {link}' in html


def test_a_welcome_says_when_and_what_to_read_now(samples: SimpleNamespace) -> None:
    text, html = parts(samples, "welcome")

    for part in (" ".join(text.split()), visible(html)):
        assert "Your first digest comes Monday 23 November, 07:00." in part
        assert "After that you get one every day." in part
        assert samples.TITLES["en"] in part
    assert samples.latest("en").url in text
    assert f'href="{samples.latest("en").url}"' in html


def test_a_welcome_to_the_very_first_edition_has_nothing_to_read_yet(
    samples: SimpleNamespace,
) -> None:
    text, html = parts(samples, "welcome-first")

    assert "To read now" not in text + html


def test_who_is_subscribed_already_hears_it_and_sees_the_pause(samples: SimpleNamespace) -> None:
    text, html = parts(samples, "present-paused")

    for part in (" ".join(text.split()), visible(html)):
        assert "nothing has changed" in part
        assert "Sunday 29 November" in part
        assert "Monday 30 November, 07:00" in part
    assert f"/preferences/{samples.TOKEN}" in text


def test_a_pause_without_an_end_is_called_open(samples: SimpleNamespace) -> None:
    text, html = parts(samples, "present-open")

    assert "Next digest: open, until you come back" in text
    assert "open, until you come back" in html


def test_a_goodbye_can_be_undone(samples: SimpleNamespace) -> None:
    text, html = parts(samples, "goodbye")

    assert f"/unsubscribe/{samples.DIGESTS.READER[Slot.UNSUBSCRIBE]}" in text
    assert "Undo the goodbye" in html
    assert "Change how often" not in text + html


@pytest.mark.parametrize("language", ["en", "de", "ar"])
@pytest.mark.parametrize("name", LETTERS)
def test_every_letter_is_small_and_whole(
    samples: SimpleNamespace, name: str, language: str
) -> None:
    found = read(samples, name, language)

    _, html = parts(samples, name, language)
    assert len(bytes(found)) < 40_000
    assert f'lang="{language}"' in html
    assert samples.BRANDS[language].postal_address.splitlines()[0] in html
    assert all(len(line) <= 998 for line in bytes(found).splitlines())


def test_a_german_letter_is_german(samples: SimpleNamespace) -> None:
    found = read(samples, "welcome", "de")
    text, _ = parts(samples, "welcome", "de")

    assert found["Subject"] == "Ihre erste Ausgabe kommt am Montag, 23. November um 07:00 Uhr"
    assert "Sie haben Mia’s Feed auf miasfeed.example per E-Mail bestellt." in " ".join(
        text.split()
    )


def test_an_arabic_letter_reads_from_right_to_left_and_its_subject_has_no_isolates(
    samples: SimpleNamespace,
) -> None:
    found = read(samples, "welcome", "ar")
    _, html = parts(samples, "welcome", "ar")

    assert found["Subject"] == "يصلكم العدد الأول يوم الاثنين، 23 نوفمبر، الساعة 07:00"
    assert 'dir="rtl"' in html


def write(samples: SimpleNamespace, nonce: str = "n" * 20, **changes: object) -> letter.Draft:
    markers = Markers(nonce)
    manage, confirm = markers.of(Slot.MANAGE), markers.of(Slot.CONFIRM)
    return letter.draft(
        letter.Confirm(cadence=str(changes.pop("cadence", "weekly"))),
        brand=replace(samples.BRANDS["en"], **changes),
        links=replace(samples.LINKS, manage=f"https://x.example/{manage}", confirm=confirm),
        markers=markers,
        environment=environment.build(None, "en"),
    )


def test_the_same_letter_has_the_same_key_whatever_its_markers(samples: SimpleNamespace) -> None:
    assert write(samples, "a" * 20).key == write(samples, "b" * 20).key
    assert len(write(samples).key) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"cadence": "daily"},
        {"name": "Another"},
        {"sender": "Another <other@miasfeed.example>"},
        {"reply_to": None},
        {"accent": "#884400"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_word_sender_or_colour_makes_another_key(
    samples: SimpleNamespace, changes: dict[str, object]
) -> None:
    assert write(samples, **changes).key != write(samples).key


def test_a_publishers_own_letter_comes_before_ours(
    samples: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "email" / "goodbye"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("So long{{ undefined }}", "utf-8")

    with pytest.raises(RenderError, match=r"goodbye/subject\.txt, line 1"):
        letter.draft(
            letter.Goodbye(),
            brand=samples.BRANDS["en"],
            links=samples.LINKS,
            markers=samples.DIGESTS.MARKERS,
            environment=environment.build(tmp_path, "en"),
        )
