from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest
from interleave import stopped_before
from sqlalchemy import Engine

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
OLD, NEW = (f"{name}-0123456789abcdef0123456789abcdef" for name in ("old", "new"))
KEYRING = Keyring([OLD])
GROUNDS = Grounds(Cause.DEAD, "5.1.1", source="bounce")


def suppress(engine: Engine, address: str, *, keyring: Keyring = KEYRING) -> bool:
    with sessions.writing(engine) as session:
        return suppression.suppress(session, address, grounds=GROUNDS, now=NOW, keyring=keyring)


def is_suppressed(engine: Engine, address: str, *, keyring: Keyring = KEYRING) -> bool:
    with sessions.reading(engine) as session:
        return suppression.is_suppressed(session, address, keyring=keyring)


def test_a_suppressed_address_is_known_by_reason_and_source(engine: Engine) -> None:
    assert suppress(engine, "ann@x.org")

    with sessions.reading(engine) as session:
        found = suppression.find(session, "ann@x.org", keyring=KEYRING)
    assert found is not None
    assert (found.reason, found.source, found.created_at) == ("5.1.1", "bounce", NOW)
    assert not is_suppressed(engine, "bob@x.org")


def test_suppressing_twice_changes_nothing(engine: Engine) -> None:
    suppress(engine, "ann@x.org")

    assert not suppress(engine, "ann@x.org")

    with sessions.reading(engine) as session:
        assert suppression.count(session) == 1


def test_a_released_address_may_be_mailed_again(engine: Engine) -> None:
    suppress(engine, "ann@x.org")

    with sessions.writing(engine) as session:
        assert suppression.release(session, "ann@x.org", keyring=KEYRING)
        assert not suppression.release(session, "ann@x.org", keyring=KEYRING)

    assert not is_suppressed(engine, "ann@x.org")


def test_of_two_who_release_an_address_at_once_one_finds_it_suppressed(engine: Engine) -> None:
    """The second one runs before each statement of the first, and before its commit."""
    found: list[Cause | None] = []

    def release() -> None:
        with sessions.writing(engine) as session:
            found.append(suppression.release(session, "ann@x.org", keyring=KEYRING))

    for step in count():
        suppress(engine, "ann@x.org")
        is_reached, _ = stopped_before(engine, step, release, release)
        if not is_reached:
            break
        assert sorted(map(str, found)) == ["None", "dead"]
        found.clear()
    assert step > 1 or is_sqlite(engine)


@pytest.mark.parametrize("known", [True, False], ids=["suppressed before", "unknown before"])
def test_of_a_forgotten_address_only_a_keyed_hash_stays(engine: Engine, known: bool) -> None:
    if known:
        suppress(engine, "ann@x.org")

    with sessions.writing(engine) as session:
        suppression.forget(session, "ann@x.org", now=NOW, keyring=KEYRING)

    with sessions.reading(engine) as session:
        [row] = suppression.listing(session, limit=10)
    assert (row.address, row.reason, row.source) == (None, "forgotten", "")
    assert is_suppressed(engine, "ann@x.org")
    assert not suppress(engine, "ann@x.org")


def test_a_forgotten_address_is_known_after_the_key_was_rotated(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        suppression.forget(session, "ann@x.org", now=NOW, keyring=Keyring([OLD]))

    assert is_suppressed(engine, "ann@x.org", keyring=Keyring([NEW, OLD]))
    assert not suppress(engine, "ann@x.org", keyring=Keyring([NEW, OLD]))


def test_a_suppressed_address_is_known_even_when_its_key_is_gone(engine: Engine) -> None:
    suppress(engine, "ann@x.org", keyring=Keyring([OLD]))

    assert is_suppressed(engine, "ann@x.org", keyring=Keyring([NEW]))
    assert not suppress(engine, "ann@x.org", keyring=Keyring([NEW]))


def test_a_person_without_the_key_cannot_tell_who_was_forgotten(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        suppression.forget(session, "ann@x.org", now=NOW, keyring=Keyring([OLD]))

    assert not is_suppressed(engine, "ann@x.org", keyring=Keyring([NEW]))


def test_thousands_are_asked_about_at_once(engine: Engine) -> None:
    keyring = Keyring([NEW, OLD])
    asked = [f"reader{number}@x.org" for number in range(6_000)]
    suppress(engine, asked[7], keyring=Keyring([OLD]))
    with sessions.writing(engine) as session:
        suppression.forget(session, asked[5_999], now=NOW, keyring=Keyring([OLD]))

    with sessions.reading(engine) as session:
        found = suppression.suppressed_among(session, asked, keyring=keyring)

    assert found == {asked[7], asked[5_999]}


def test_a_listing_goes_on_where_it_stopped(engine: Engine) -> None:
    for number in range(5):
        suppress(engine, f"reader{number}@x.org")

    with sessions.reading(engine) as session:
        first = suppression.listing(session, limit=3)
        rest = suppression.listing(session, limit=3, after=first[-1].id or 0)

    assert [row.address for row in [*first, *rest]] == [f"reader{n}@x.org" for n in range(5)]


def test_words_of_a_reason_are_only_words(engine: Engine) -> None:
    grounds = Grounds(
        Cause.OPERATOR, "it's 100% :now '; DROP TABLE subscriber; --", source="%s :x \\"
    )

    with sessions.writing(engine) as session:
        suppression.suppress(session, "ann@x.org", grounds=grounds, now=NOW, keyring=KEYRING)

    with sessions.reading(engine) as session:
        [row] = suppression.listing(session, limit=10)
    assert (row.reason, row.source) == (grounds.reason, grounds.source)


def cause_of(engine: Engine, address: str) -> tuple[str, str | None, str]:
    with sessions.reading(engine) as session:
        found = suppression.find(session, address, keyring=KEYRING)
    assert found is not None
    return found.cause, found.address, found.reason


@pytest.mark.parametrize("first", Cause)
@pytest.mark.parametrize("second", Cause)
def test_an_address_that_is_suppressed_again_keeps_the_graver_cause(
    engine: Engine, first: Cause, second: Cause
) -> None:
    for cause in (first, second):
        with sessions.writing(engine) as session:
            grounds = Grounds(cause, f"because {cause}", "test")
            suppression.suppress(session, "ann@x.org", grounds=grounds, now=NOW, keyring=KEYRING)

    graver = max(first, second, key=list(Cause).index)
    assert cause_of(engine, "ann@x.org") == (graver, "ann@x.org", f"because {graver}")


@pytest.mark.parametrize("cause", Cause)
def test_an_erasure_leaves_a_graver_cause_and_neither_address_nor_words(
    engine: Engine, cause: Cause
) -> None:
    for is_before in (True, False):
        address = f"ann{is_before}@x.org"
        grounds = Grounds(cause, f"{address} said so", "test")
        with sessions.writing(engine) as session:
            if is_before:
                suppression.suppress(session, address, grounds=grounds, now=NOW, keyring=KEYRING)
            suppression.forget(session, address, now=NOW, keyring=KEYRING)
            if not is_before:
                suppression.suppress(session, address, grounds=grounds, now=NOW, keyring=KEYRING)

        graver = max(cause, Cause.ERASED, key=list(Cause).index)
        assert cause_of(engine, address) == (graver, None, "forgotten")


def test_no_graver_cause_can_be_lifted_where_a_lesser_one_cannot() -> None:
    assert list(suppression.RULES) == list(Cause)
    liftable = [rule.is_liftable for rule in suppression.RULES.values()]
    assert liftable == sorted(liftable, reverse=True)
    assert {cause for cause, rule in suppression.RULES.items() if not rule.is_liftable} == {
        Cause.OPERATOR,
        Cause.OPT_OUT,
        Cause.COMPLAINT,
    }


def test_each_address_is_suppressed_on_its_own_grounds(engine: Engine) -> None:
    suppress(engine, "ann@x.org")
    each = {
        "ann@x.org": Grounds(Cause.COMPLAINT, "spam", "list"),
        "bob@x.org": Grounds(Cause.FULL, "full", "list"),
    }

    with sessions.writing(engine) as session:
        assert suppression.suppress_each(session, each, now=NOW, keyring=KEYRING) == 1

    assert cause_of(engine, "ann@x.org") == ("complaint", "ann@x.org", "spam")
    assert cause_of(engine, "bob@x.org") == ("full", "bob@x.org", "full")
