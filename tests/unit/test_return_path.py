"""The signed return path: who it names, and what cannot be made up."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import address, return_path
from newsletter.return_path import ReturnPath
from newsletter.tokens import Keyring

KEYRING = Keyring(["return-path-0123456789abcdef-first"])
ROTATED = Keyring(["return-path-fedcba9876543210-newer", "return-path-0123456789abcdef-first"])
FOREIGN = Keyring(["return-path-of-somebody-else-12345"])
READER = "vyHPGLSyOvurfNGR"


@pytest.mark.parametrize(
    "form", ["bounces+{token}@miasfeed.example", "{token}@bounces.miasfeed.example"]
)
def test_a_return_path_names_its_reader_in_any_case_and_after_a_new_key(form: str) -> None:
    written = ReturnPath(form, KEYRING).of(READER)

    assert address.normalise(written) == written
    for keyring in (KEYRING, ROTATED):
        for text in (written, written.upper(), f"Bounces <{written}>", f"for <{written}>;"):
            assert return_path.references([text], keyring) == ((READER,), 0)


def test_the_same_reader_always_has_the_same_one() -> None:
    path = ReturnPath("{token}@bounces.miasfeed.example", KEYRING)

    assert path.of(READER) == path.of(READER)
    assert path.of(READER) != path.of(READER[::-1])


def test_without_a_token_all_have_the_same_one() -> None:
    path = ReturnPath("bounces@miasfeed.example", KEYRING)

    assert path.of(READER) == path.plain == "bounces@miasfeed.example"


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        ("bounces+{token}@miasfeed.example", "bounces@miasfeed.example"),
        ("{token}@bounces.miasfeed.example", "bounces@bounces.miasfeed.example"),
    ],
)
def test_a_mail_to_no_reader_has_one_without_the_token(form: str, plain: str) -> None:
    assert ReturnPath(form, KEYRING).plain == plain


def test_one_that_is_signed_elsewhere_names_nobody_and_is_counted() -> None:
    forged = ReturnPath("{token}@bounces.miasfeed.example", FOREIGN).of(READER)

    assert return_path.references([forged, forged.upper()], KEYRING) == ((), 1)


@given(st.binary(min_size=12, max_size=12), st.integers(2, 37), st.sampled_from("abcxyz234567"))
def test_a_changed_letter_names_nobody_else(octets: bytes, at: int, letter: str) -> None:
    reference = urlsafe_b64encode(octets).decode()
    written = ReturnPath("{token}@b.miasfeed.example", KEYRING).of(reference)
    changed = written[:at] + letter + written[at + 1 :]

    found, _ = return_path.references([changed], KEYRING)

    # The last letter has bits that are not used.
    assert found in {(), (reference,)}


@given(st.lists(st.text() | st.from_regex(r"b-[a-z2-7]{36}")))
def test_any_text_is_read_and_names_nobody(texts: list[str]) -> None:
    assert return_path.references(texts, KEYRING)[0] == ()


def test_a_text_full_of_tokens_costs_no_more_than_a_few() -> None:
    numbers = (f"{number:016}" for number in range(1_000))
    path = ReturnPath("{token}@b.miasfeed.example", KEYRING)

    found, forged = return_path.references([" ".join(map(path.of, numbers))], KEYRING)

    assert (len(found), forged) == (20, 0)
