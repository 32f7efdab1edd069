"""Filling a mailing for one recipient: the same bytes on every retry, distinct between readers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import ledgers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import tokens
from newsletter.errors import RenderError
from newsletter.ledger import message_ids
from newsletter.ledger.queue import Claim
from newsletter.rendering.message import CompiledMessage, Field, Place, Slot
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.tokens import Keyring, Purpose

MAILING = "mailing000000001"
CLAIM = Claim(
    id=1,
    mailing_id=1,
    address="reader1@example.com",
    reference="reader1000000001",
    generation=3,
    since_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
    created_at=datetime(2026, 11, 23, 6, tzinfo=UTC),
    attempts=0,
)
MESSAGE = ledgers.compiled()
STAMP = ledgers.STAMP


def fill(
    claim: Claim = CLAIM, message: CompiledMessage = MESSAGE, *, slot_values: SlotValues = STAMP
) -> bytes:
    return ledgers.filler().fill(message, slot_values=slot_values, claim=claim)


def only(slot: Slot, place: Place = Place.HEADER) -> CompiledMessage:
    return CompiledMessage("", (Field(slot, place),))


def test_a_retry_has_the_same_bytes_whatever_was_tried_before() -> None:
    again = CLAIM._replace(attempts=5)

    assert fill() == fill() == fill(again)


def test_every_slot_is_filled() -> None:
    filled = fill().decode()

    assert "To: reader1@example.com\r\n" in filled
    assert "Date: Mon, 23 Nov 2026 07:00:00 +0100\r\n" in filled
    assert f"Message-ID: <{MAILING}.reader1000000001@miasfeed.example>\r\n" in filled


def test_the_day_since_when_is_the_publications_day() -> None:
    """Half past eleven at night in UTC is the next day in Berlin."""
    assert fill(message=only(Slot.SINCE, Place.TEXT)) == b"1 February 2026"


def test_each_mailing_is_written_in_its_own_zone_and_language_and_under_its_own_domain() -> None:
    """One worker sends mailings from before and after a change of the settings."""
    filler = ledgers.filler()
    elsewhere = SlotValues(MAILING, "other.example", ZoneInfo("Asia/Tokyo"), "de")

    for slot_values, date, domain, since in (
        (STAMP, b"07:00:00 +0100", b"miasfeed.example", b"1 February 2026"),
        (elsewhere, b"15:00:00 +0900", b"other.example", b"1. Februar 2026"),
    ):
        filled = filler.fill(MESSAGE, slot_values=slot_values, claim=CLAIM)
        assert b"Date: Mon, 23 Nov 2026 " + date in filled
        assert b"@" + domain + b">" in filled
        assert b"since " + since in filled


def test_a_rotated_key_changes_no_retry() -> None:
    """While the older key is in the list, what was written with it is signed with it again."""
    newer = "another-0123456789abcdef0123456789abcdef"
    slot_values = replace(STAMP, key=Keyring([ledgers.SECRET]).newest)
    before, after, gone = (
        Filler(Keyring(keys)).fill(MESSAGE, slot_values=slot_values, claim=CLAIM)
        for keys in ([ledgers.SECRET], [newer, ledgers.SECRET], [newer])
    )

    assert before == after != gone
    assert newer not in Keyring([newer]).newest


def test_message_ids_differ_between_readers_and_between_mailings() -> None:
    other = CLAIM._replace(reference="reader1000000002")
    filled = {fill(claim, only(Slot.MESSAGE_ID)) for claim in (CLAIM, other)} | {
        message_ids.make("mailing000000002", CLAIM.reference, "miasfeed.example").encode()
    }

    assert len(filled) == 3


@pytest.mark.parametrize("slot", [Slot.UNSUBSCRIBE, Slot.MANAGE])
@given(
    reference=st.text("abcXYZ019-_", min_size=16, max_size=16), generation=st.integers(0, 2**24 - 1)
)
def test_tokens_have_one_length_and_speak_for_their_reader(
    slot: Slot, reference: str, generation: int
) -> None:
    claim = CLAIM._replace(reference=reference, generation=generation)

    token = fill(claim, only(slot)).decode()

    assert len(token) == tokens.TOKEN_LENGTH
    bearer = Keyring([ledgers.SECRET]).read(Purpose(slot.value), token, now=CLAIM.created_at)
    assert (bearer.public_id, bearer.generation) == (reference, generation)


def test_a_confirm_link_counts_from_when_the_letter_was_made_not_from_its_retry() -> None:
    token = fill(message=only(Slot.CONFIRM)).decode()

    ring, late = Keyring([ledgers.SECRET]), CLAIM.created_at + tokens.CONFIRM_LIFETIME
    assert ring.read(Purpose.CONFIRM, token, now=late).issued_at == CLAIM.created_at
    with pytest.raises(tokens.ExpiredToken):
        ring.read(Purpose.CONFIRM, token, now=late + timedelta(seconds=1))


@pytest.mark.parametrize(
    "address", ["a\nBcc: x@y.example", "a\u2028b@example.com", "=?utf-8?q?x?=@y"]
)
def test_an_address_that_would_change_the_header_is_not_filled_in_trap_14(address: str) -> None:
    with pytest.raises(RenderError):
        fill(CLAIM._replace(address=address))


# Message-IDs, read back


def test_a_message_id_of_ours_is_read_back() -> None:
    made = message_ids.make(MAILING, CLAIM.reference, "miasfeed.example")

    for text in (made, f"<{made}>", f" <{made}>\r\n"):
        assert message_ids.parse(text) == (MAILING, CLAIM.reference)


@pytest.mark.parametrize(
    "text",
    ["", "@", "<>", "abc.def@example.com", f"{MAILING}.short@x", f"{MAILING}@x", "20261123.GA1@mx"],
)
def test_a_message_id_of_somebody_else_is_not(text: str) -> None:
    assert message_ids.parse(text) is None


@given(st.text())
def test_no_text_at_all_breaks_the_reading_of_message_ids(text: str) -> None:
    found = message_ids.parse(text)

    assert found is None or {len(found[0]), len(found[1])} == {16}
