from __future__ import annotations

import email
import re
from email import policy
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import RenderError
from newsletter.rendering import headers
from newsletter.rendering.headers import Mailbox

FORBIDDEN = [*map(chr, range(0x20)), "\x7f", "\x85", "\u2028", "\u2029"]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=FORBIDDEN), max_size=300)
NAMES = TEXT.filter(lambda name: name == name.strip() and "\ufeff" not in name)


def unfold(raw: bytes) -> str:
    return raw.decode("ascii").partition(": ")[2].removesuffix("\r\n")


def parsed(raw: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(raw + b"\r\n", policy=policy.default)


def encoded_words(raw: bytes) -> list[bytes]:
    return re.findall(rb"=\?[^?]*\?[bq]\?[^?]*\?=", raw)


@given(TEXT)
def test_a_subject_in_any_script_comes_back_as_it_was(subject: str) -> None:
    raw = headers.unstructured("Subject", subject)

    assert str(make_header(decode_header(unfold(raw).replace("\r\n", "")))) == subject


@given(TEXT.map(str.strip))
def test_the_modern_parser_reads_the_same_subject(subject: str) -> None:
    assert parsed(headers.unstructured("Subject", subject))["subject"] == subject


@given(TEXT)
def test_trap_2_no_encoded_word_is_longer_than_75_and_a_blank_parts_them(subject: str) -> None:
    raw = headers.unstructured("Subject", subject)

    assert all(len(word) <= 75 for word in encoded_words(raw))
    assert all(len(line) <= 76 for line in raw.split(b"\r\n") if b"=?" in line)
    assert raw.count(b"?==?") == 0
    for word in encoded_words(raw):
        word.split(b"?")[3].decode("ascii")
        str(make_header(decode_header(word.decode("ascii"))))  # never cut inside a character


@given(TEXT)
def test_a_header_is_ascii_and_folded_at_78(subject: str) -> None:
    raw = headers.unstructured("Subject", subject)

    assert raw.isascii()
    assert raw.endswith(b"\r\n")
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    assert all(line.startswith(b" ") and line.strip() for line in raw.split(b"\r\n")[1:-1])


@given(NAMES)
def test_a_display_name_in_any_script_comes_back_as_it_was(name: str) -> None:
    raw = headers.mailbox("From", Mailbox(name, "news@miasfeed.example"))

    (found,) = parsed(raw)["from"].addresses
    assert found.addr_spec == "news@miasfeed.example"
    assert all(len(word) <= 75 for word in encoded_words(raw))
    if len(encoded_words(raw)) < 2:
        assert found.display_name == name
    else:  # Python 3.11's own parser keeps the blank between the words of a phrase
        phrase = unfold(raw).replace("\r\n", "").rpartition(" <")[0]
        assert str(make_header(decode_header(phrase))) == name


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Mia’s Feed <news@x.example>", "Mia’s Feed", "news@x.example"),
        ('"Feed, Mia’s" <news@x.example>', "Feed, Mia’s", "news@x.example"),
        ("Café, Inc. <a@x.example>", "Café, Inc.", "a@x.example"),
        (r'"a \"b\" \\ c" <a@x.example>', r'a "b" \ c', "a@x.example"),
        ("news@x.example", "", "news@x.example"),
    ],
)
def test_a_mailbox_is_read_from_a_setting(text: str, name: str, address: str) -> None:
    assert Mailbox.parse(text) == Mailbox(name, address)


@pytest.mark.parametrize(
    "text",
    [
        "Mia",
        "",
        "Mia <news>",
        "Mia <news@>",
        "Jörg <jorg@bücher.example>",
        "u <u@=?utf-8?q?evil=2Ecom?=>",
        "a <a@x.example> b <b@x.example>",
        "Mia <a@x.example\r\nBcc: b@x.example>",
    ],
)
def test_trap_3_a_sender_is_one_address_with_an_ascii_domain(text: str) -> None:
    with pytest.raises(RenderError):
        Mailbox.parse(text)


@pytest.mark.parametrize("character", FORBIDDEN)
def test_trap_14_no_control_character_reaches_a_header(character: str) -> None:
    value = f"Good morning{character}Bcc: everyone@x.example"

    with pytest.raises(RenderError):
        headers.unstructured("Subject", value)
    with pytest.raises(RenderError):
        headers.mailbox("From", Mailbox(value, "a@x.example"))
    with pytest.raises(RenderError):
        headers.verbatim("Feedback-ID", value)


def test_a_verbatim_header_is_never_encoded_and_never_too_long() -> None:
    with pytest.raises(RenderError, match="ASCII"):
        headers.verbatim("List-Id", "<bücher.example>")
    with pytest.raises(RenderError, match="longer"):
        headers.verbatim("List-Id", "x" * 999)


@pytest.mark.parametrize(
    "subject", ["=?utf-8?q?hi?=", "a =?x", " a", "a  b", "x" * 200, "a\u00a0b"]
)
def test_a_plain_looking_subject_that_a_reader_would_change_is_encoded(subject: str) -> None:
    assert b"=?utf-8?" in headers.unstructured("Subject", subject)


def test_a_plain_subject_stays_readable() -> None:
    assert headers.unstructured("Subject", "Good morning") == b"Subject: Good morning\r\n"
