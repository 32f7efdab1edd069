from __future__ import annotations

import email
import html
import re
from dataclasses import replace
from email import policy
from email.message import EmailMessage

import pytest
from filling import filled
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import RenderError
from newsletter.rendering import message
from newsletter.rendering.message import (
    CompiledMessage,
    Field,
    Heading,
    Markers,
    Place,
    Slot,
    encode,
)

MARKERS = Markers("0123456789abcdefghij")
TOKEN = "a" * 71
AWKWARD = ("o'b&c=d+e@x.example", f"{'l' * 64}@{'d' * 60}.{'e' * 60}.{'f' * 59}.example")
HEADING = Heading(
    sender="Mia’s Feed <news@miasfeed.example>",
    subject="Guten Morgen, Jörg",
    reply_to="editors@miasfeed.example",
    list_id="news.miasfeed.example",
    list_name="Mia's Feed",
    unsubscribe=f"https://miasfeed.example/unsubscribe/{MARKERS.of(Slot.UNSUBSCRIBE)}",
    unsubscribe_mailto=f"mailto:news@miasfeed.example?subject={MARKERS.of(Slot.UNSUBSCRIBE)}",
    feedback_id="weekly-20261123:digest:news:miasfeed",
)
VALUES = {
    Slot.ADDRESS: AWKWARD[0],
    Slot.MESSAGE_ID: "Wq3xT8mZ1kLp.5fXk2vQ9rT7bN1yH@miasfeed.example",
    Slot.DATE: "Mon, 23 Nov 2026 07:00:00 +0000",
    Slot.SINCE: "2 September 2025",
    Slot.UNSUBSCRIBE: TOKEN,
    Slot.MANAGE: TOKEN[:64],
}
TEXT = f"To {MARKERS.of(Slot.ADDRESS)}, since {MARKERS.of(Slot.SINCE)}\n.\nEnd"
HTML = (
    f'<p>{MARKERS.of(Slot.ADDRESS)}{MARKERS.of(Slot.SINCE)} <a href="https://miasfeed.example/p/'
    f'{MARKERS.of(Slot.MANAGE)}">é</a></p>'
)


def compiled(text: str = TEXT, body: str = HTML, heading: Heading = HEADING) -> CompiledMessage:
    return message.assemble(heading, text=text, html=body, markers=MARKERS)


def read(raw: bytes) -> EmailMessage:
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def bodies(raw: bytes) -> list[str]:
    return [
        part.get_content().replace("\r\n", "\n").removesuffix("\n")
        for part in read(raw).iter_parts()
    ]


def test_a_filled_message_says_to_this_reader_what_the_templates_said_to_all() -> None:
    text, body = bodies(filled(compiled(), VALUES))

    assert text == "To o'b&c=d+e@x.example, since 2 September 2025\n.\nEnd"
    assert f'href="https://miasfeed.example/p/{TOKEN[:64]}"' in body
    assert html.unescape(body).startswith("<p>o'b&c=d+e@x.example2 September 2025 <a")


@pytest.mark.parametrize("address", AWKWARD, ids=["punctuation", "254 characters"])
def test_an_awkward_address_stands_in_header_and_bodies(address: str) -> None:
    raw = filled(compiled(), VALUES | {Slot.ADDRESS: address})

    text, body = bodies(raw)
    assert read(raw)["to"].addresses[0].addr_spec == address
    assert address in text
    assert address in html.unescape(body)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert max(map(len, raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76


def test_trap_1_list_headers_are_never_folded_inside_nor_encoded() -> None:
    raw = filled(compiled(), VALUES)

    assert (
        f"\r\nList-Unsubscribe: <https://miasfeed.example/unsubscribe/{TOKEN}>,\r\n"
        f" <mailto:news@miasfeed.example?subject={TOKEN}>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        "List-Id: Mia's Feed <news.miasfeed.example>\r\n"
        "Feedback-ID: weekly-20261123:digest:news:miasfeed\r\n"
    ).encode() in raw
    assert b"\r\nMessage-ID: <Wq3xT8mZ1kLp.5fXk2vQ9rT7bN1yH@miasfeed.example>\r\n" in raw


def test_a_list_name_in_another_script_is_left_out_rather_than_encoded() -> None:
    raw = filled(compiled(heading=replace(HEADING, list_name="Mia’s Feed")), VALUES)

    assert b"\r\nList-Id: <news.miasfeed.example>\r\n" in raw


def test_trap_4_every_line_is_short_and_seven_bit() -> None:
    raw = filled(compiled(text="é" * 5000, body=f"<p>{'x' * 5000}"), VALUES)

    assert raw.isascii()
    assert raw.replace(b"\r\n", b"").count(b"\n") == raw.replace(b"\r\n", b"").count(b"\r") == 0
    assert all(
        len(line) <= 78 or line.startswith((b"List-Unsub", b" <mailto"))
        for line in raw.split(b"\r\n")
    )


def test_every_header_stands_once() -> None:
    head = filled(compiled(), VALUES).partition(b"\r\n\r\n")[0].decode()

    names = re.findall(r"^([A-Za-z-]+):", head, flags=re.MULTILINE)
    assert names == [
        "From",
        "To",
        "Reply-To",
        "Subject",
        "Date",
        "Message-ID",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "List-Id",
        "Feedback-ID",
        "Auto-Submitted",
        "Precedence",
        "MIME-Version",
        "Content-Type",
    ]


def test_a_header_of_a_provider_has_the_message_id() -> None:
    headers = (("X-PM-Metadata-message-id", "%s"), ("X-Mailgun-Variables", '{"message-id": "%s"}'))
    found = read(filled(compiled(heading=replace(HEADING, event_headers=headers)), VALUES))
    message_id = VALUES[Slot.MESSAGE_ID]

    assert found["X-PM-Metadata-message-id"] == message_id
    assert found["X-Mailgun-Variables"] == f'{{"message-id": "{message_id}"}}'
    assert found["Message-ID"] == f"<{message_id}>"


def test_a_letter_has_no_list_headers() -> None:
    letter = Heading(sender="news@miasfeed.example", subject="Please confirm", is_bulk=False)

    raw = filled(compiled(heading=letter), VALUES)

    assert b"List-" not in raw
    assert b"Precedence" not in raw
    assert read(raw)["auto-submitted"] == "auto-generated"


def test_in_a_body_every_slot_has_a_line_of_its_own() -> None:
    pieces = compiled().pieces

    for before, hole, after in zip(pieces, pieces[1:], pieces[2:], strict=False):
        if isinstance(hole, Field) and hole.place is not Place.HEADER:
            assert isinstance(before, bytes)
            assert before.endswith(b"\r\n")
            assert isinstance(after, bytes)
            assert after.startswith(b"=\r\n")


LINES = st.lists(
    st.sampled_from([".", "..", ".é", "a", " ", "\n", "From ", MARKERS.of(Slot.SINCE)])
)


@given(LINES.map("".join), LINES.map("".join))
def test_dot_stuffing_changes_nothing_and_a_server_reads_back_what_was_written(
    text: str, body: str
) -> None:
    raw = filled(compiled(text=text, body=body), VALUES)

    assert not any(line.startswith(b".") for line in raw.split(b"\r\n"))
    assert raw.endswith(b"\r\n")
    since = VALUES[Slot.SINCE]
    expected = [
        part.replace(MARKERS.of(Slot.SINCE), since).removesuffix("\n") for part in (text, body)
    ]
    assert bodies(raw) == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.sampled_from(Place))
def test_an_encoded_value_is_safe_on_a_line_of_its_own(value: str, place: Place) -> None:
    if place is Place.HEADER:
        return
    encoded = encode(value, place)

    lines = encoded.split(b"\r\n")
    assert all(len(line) < 76 for line in lines[-1:])
    assert all(len(line) <= 76 and not line.startswith(b".") for line in lines)


@pytest.mark.parametrize("value", ["a\r\nBcc: b@x.example", "a\x00b", "a\u2028b", "a\x85b"])
def test_trap_14_a_slot_in_a_header_refuses_control_characters(value: str) -> None:
    with pytest.raises(RenderError):
        encode(value, Place.HEADER)


def test_trap_3_a_slot_in_a_header_refuses_encoded_words() -> None:
    with pytest.raises(RenderError):
        encode("u@=?utf-8?q?evil=2Ecom?=", Place.HEADER)


def test_trap_14_a_link_cannot_open_a_second_header() -> None:
    for link in ("https://x.example/\r\nBcc: a@x.example", "https://x.example/ a", "https://x/>,<"):
        with pytest.raises(RenderError):
            compiled(heading=replace(HEADING, unsubscribe=link))


def test_an_unfilled_slot_is_an_error() -> None:
    mail = compiled()

    with pytest.raises(ValueError, match="shorter"):
        mail.fill([b"x"] * (len(mail.fields) - 1))


def test_a_dumped_message_loads_equal_and_fills_equal() -> None:
    mail = compiled()

    loaded = CompiledMessage.load(mail.subject, *mail.dump())

    assert loaded == mail
    assert loaded.size == mail.size == len(mail.dump()[0])
    assert filled(loaded, VALUES) == filled(mail, VALUES)


def test_a_message_that_begins_or_ends_with_a_slot_survives_the_store() -> None:
    since, date = Field(Slot.SINCE, Place.TEXT), Field(Slot.DATE, Place.HEADER)
    mail = CompiledMessage("x", (since, date, b"abc", since))

    assert CompiledMessage.load("x", *mail.dump()) == mail


def test_an_article_cannot_forge_a_slot() -> None:
    forged = Markers("z" * 20).of(Slot.UNSUBSCRIBE)

    mail = compiled(text=forged)

    assert all(hole.place is not Place.TEXT for hole in mail.fields)


def test_a_nonce_is_long_enough_to_be_unguessable() -> None:
    for nonce in ("", "short", "UPPER" * 5, "with-hyphen-and-more"):
        with pytest.raises(ValueError, match="nonce"):
            Markers(nonce)


def test_a_subject_cannot_hold_a_slot() -> None:
    with pytest.raises(RenderError):
        compiled(heading=replace(HEADING, subject=f"Hello {MARKERS.of(Slot.ADDRESS)}"))


def test_half_a_character_is_refused_by_its_number() -> None:
    with pytest.raises(RenderError, match=r"U\+D83D"):
        compiled(text="\ud83d")
