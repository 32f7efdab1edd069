from __future__ import annotations

import random
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import tokens
from newsletter.errors import ConfigurationError, ExpiredToken, InvalidToken
from newsletter.tokens import Bearer, CountedLink, Keyring, Purpose

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
OLD, NEW, OTHER = (f"{name}-0123456789abcdef0123456789abcdef" for name in ("old", "new", "other"))
KEYRING = Keyring([NEW])
UNRESERVED = string.ascii_letters + string.digits + "-_."


def issue(keyring: Keyring, purpose: Purpose, *, generation: int = 1) -> str:
    return keyring.issue(purpose, tokens.new_public_id(), generation, at=NOW)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_says_which_reader_and_which_consent(purpose: Purpose) -> None:
    public_id = tokens.new_public_id()

    bearer = KEYRING.read(purpose, KEYRING.issue(purpose, public_id, 7, at=NOW), now=NOW)

    assert (bearer.public_id, bearer.generation) == (public_id, 7)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("other", Purpose)
def test_a_token_works_for_its_own_purpose_only(purpose: Purpose, other: Purpose) -> None:
    token = issue(KEYRING, purpose)

    if other is purpose:
        assert KEYRING.read(other, token, now=NOW)
        return
    with pytest.raises(InvalidToken):
        KEYRING.read(other, token, now=NOW)


@pytest.mark.parametrize("purpose", Purpose)
def test_tokens_of_one_purpose_have_one_length(purpose: Purpose) -> None:
    lengths = {len(issue(KEYRING, purpose, generation=n)) for n in (0, 1, 255, 2**24 - 1)}

    assert lengths == {72 if purpose in tokens._LIFETIMES else tokens.TOKEN_LENGTH}


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_needs_no_escaping_in_an_url(purpose: Purpose) -> None:
    assert set(issue(KEYRING, purpose)) <= set(UNRESERVED)


def test_none_of_100_000_mutated_tokens_is_accepted() -> None:
    rng = random.Random(20261122)
    originals = {purpose: issue(KEYRING, purpose) for purpose in Purpose}
    accepted = []

    for number in range(100_000):
        purpose = list(Purpose)[number % len(Purpose)]
        mutated = _mutated(originals[purpose], rng)
        try:
            KEYRING.read(purpose, mutated, now=NOW)
        except InvalidToken:
            continue
        accepted.append(mutated)

    assert accepted == []


@pytest.mark.parametrize("purpose", Purpose)
def test_every_single_bit_of_a_token_counts(purpose: Purpose) -> None:
    token = issue(KEYRING, purpose)

    for place in range(len(token)):
        for character in UNRESERVED + "= \n+/%":
            if character == token[place]:
                continue
            with pytest.raises(InvalidToken):
                KEYRING.read(purpose, token[:place] + character + token[place + 1 :], now=NOW)


@given(st.text(max_size=100), st.sampled_from(Purpose))
def test_any_text_is_refused_and_nothing_breaks(text: str, purpose: Purpose) -> None:
    with pytest.raises(InvalidToken):
        KEYRING.read(purpose, text, now=NOW)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("text", ["", ".", "a.b", "\ud800.\ud800", "é.é", "\0" * 64, "a" * 10**6])
def test_nonsense_is_refused(purpose: Purpose, text: str) -> None:
    with pytest.raises(InvalidToken):
        KEYRING.read(purpose, text, now=NOW)


def test_a_token_of_a_rotated_key_stays_alive() -> None:
    token = issue(Keyring([OLD]), Purpose.UNSUBSCRIBE)

    assert Keyring([NEW, OLD]).read(Purpose.UNSUBSCRIBE, token, now=NOW)


def test_new_tokens_are_signed_with_the_first_key() -> None:
    token = issue(Keyring([NEW, OLD]), Purpose.UNSUBSCRIBE)

    assert Keyring([NEW]).read(Purpose.UNSUBSCRIBE, token, now=NOW)
    with pytest.raises(InvalidToken):
        Keyring([OLD]).read(Purpose.UNSUBSCRIBE, token, now=NOW)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_of_somebody_elses_key_is_refused(purpose: Purpose) -> None:
    with pytest.raises(InvalidToken):
        KEYRING.read(purpose, issue(Keyring([OTHER]), purpose), now=NOW)


@pytest.mark.parametrize("purpose", [Purpose.UNSUBSCRIBE, Purpose.MANAGE, Purpose.VIEW])
def test_an_unsubscribe_link_never_expires(purpose: Purpose) -> None:
    token = issue(KEYRING, purpose)

    assert KEYRING.read(purpose, token, now=NOW + timedelta(days=36_500))


def test_a_confirm_link_expires_after_72_hours_and_says_how_old_it_is() -> None:
    token = issue(KEYRING, Purpose.CONFIRM)

    bearer = KEYRING.read(Purpose.CONFIRM, token, now=NOW + timedelta(hours=72))
    assert bearer.issued_at == NOW

    with pytest.raises(ExpiredToken) as raised:
        KEYRING.read(Purpose.CONFIRM, token, now=NOW + timedelta(hours=72, seconds=1))
    assert raised.value.issued_at == NOW


def test_a_form_token_works_for_24_hours_and_says_when_it_was_given_out() -> None:
    token = KEYRING.form(now=NOW)

    bearer = KEYRING.read(Purpose.FORM, token, now=NOW + timedelta(hours=24))

    assert bearer.issued_at == NOW
    with pytest.raises(ExpiredToken):
        KEYRING.read(Purpose.FORM, token, now=NOW + timedelta(hours=24, seconds=1))
    assert KEYRING.form(now=NOW) != token


def test_a_token_does_not_hold_the_address() -> None:
    token = KEYRING.issue(Purpose.MANAGE, "A" * 16, 1)

    assert KEYRING.read(Purpose.MANAGE, token, now=NOW) == Bearer("A" * 16, 1)
    assert token.startswith("A" * 16 + "AAAB.")


@pytest.mark.parametrize(
    "key",
    ["", "short", "a" * 31, "a" * 32, "changeme-changeme-changeme-0123456789", "SECRET" * 8],
)
def test_a_weak_or_quoted_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Keyring([key])

    assert raised.value.setting == "secret_keys"
    assert not key or key not in raised.value.message


def test_no_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="No secret key"):
        Keyring([])


def test_fingerprints_come_newest_key_first_and_differ_by_key() -> None:
    both = Keyring([NEW, OLD]).fingerprints("ann@example.org")

    assert both == [
        *Keyring([NEW]).fingerprints("ann@example.org"),
        *Keyring([OLD]).fingerprints("ann@example.org"),
    ]
    assert len(set(both)) == 2
    assert all(len(one) == 48 for one in both)


def test_public_ids_are_random_and_fit_an_url() -> None:
    made = {tokens.new_public_id() for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(len(one) == 16 and set(one) <= set(UNRESERVED) for one in made)


def _mutated(token: str, rng: random.Random) -> str:
    """Change a token in one or two of the ways in which links are changed."""
    mutated = token
    while mutated == token:
        for _ in range(rng.randint(1, 2)):
            place = rng.randrange(len(mutated) + 1)
            character = rng.choice(UNRESERVED + "=+/ %\n\x00é")
            kind = rng.randrange(5)
            if kind == 0:
                mutated = mutated[:place] + character + mutated[place + 1 :]
            elif kind == 1:
                mutated = mutated[:place] + character + mutated[place:]
            elif kind == 2:
                mutated = mutated[:place] + mutated[place + 1 :]
            elif kind == 3:
                mutated = mutated[:place] + mutated[place:].swapcase()
            else:
                mutated = mutated[place:] + mutated[:place]
    return mutated


def test_tokens_made_by_the_batch_are_those_made_one_by_one() -> None:
    bearers = [(tokens.new_public_id(), generation) for generation in range(100)]

    found = KEYRING.issue_all(Purpose.UNSUBSCRIBE, bearers)

    assert found == [KEYRING.issue(Purpose.UNSUBSCRIBE, *each).encode() for each in bearers]
    assert KEYRING.issue_all(Purpose.UNSUBSCRIBE, []) == []


LINK = CountedLink("weekly-2026-11-23", 17, "https://miasfeed.example/articles/uv-tracking")
EDITIONS = st.builds(
    "{}-{}".format, st.sampled_from(["daily", "weekly", "monthly"]), st.dates().map(str)
)
URLS = st.builds(
    "{}{}".format,
    st.sampled_from(["https://", "http://"]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1),
)


@given(EDITIONS, st.integers(1, 2**63 - 1), URLS)
def test_a_counted_link_says_which_edition_article_and_url(
    edition: str, article_id: int, url: str
) -> None:
    link = CountedLink(edition, article_id, url)

    token = KEYRING.sign_link(link)

    assert KEYRING.read_link(token) == tokens.unsigned_link(token) == link
    assert set(token) <= set(UNRESERVED)


def test_none_of_100_000_mutated_links_is_accepted() -> None:
    rng = random.Random(20261122)
    original = KEYRING.sign_link(LINK)
    accepted = []

    for _ in range(100_000):
        mutated = _mutated(original, rng)
        try:
            KEYRING.read_link(mutated)
        except InvalidToken:
            continue
        accepted.append(mutated)

    assert accepted == []


@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused_as_a_counted_link(text: str) -> None:
    with pytest.raises(InvalidToken):
        KEYRING.read_link(text)


@given(st.text(max_size=100) | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text()))
def test_any_text_without_a_signature_is_a_link_or_refused(text: str) -> None:
    try:
        link = tokens.unsigned_link(text)
    except InvalidToken:
        return
    assert link.url.startswith(("http://", "https://"))


@pytest.mark.parametrize("purpose", Purpose)
def test_no_other_token_is_a_counted_link_and_none_of_them_acts(purpose: Purpose) -> None:
    with pytest.raises(InvalidToken):
        KEYRING.read_link(issue(KEYRING, purpose))
    with pytest.raises(InvalidToken):
        KEYRING.read(purpose, KEYRING.sign_link(LINK), now=NOW)


def test_a_counted_link_lives_as_long_as_its_key() -> None:
    token = Keyring([OLD]).sign_link(LINK)

    assert Keyring([NEW, OLD]).read_link(token) == LINK
    with pytest.raises(InvalidToken):
        Keyring([NEW]).read_link(token)
