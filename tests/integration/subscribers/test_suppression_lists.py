"""Suppressions in and out: our own export without loss, other systems' lists, plain ones."""

from __future__ import annotations

import io
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import counts
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from readers import Readers
from sqlalchemy import Engine, delete

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.models import State, Suppression
from newsletter.subscribers import forget, suppression_lists
from newsletter.subscribers.csv_rows import Rejection
from newsletter.subscribers.suppression_lists import Import, ListTally
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

ANN = "ann@x.org"


def take_over(readers: Readers, text: str | bytes, **how: Any) -> tuple[ListTally, list[Rejection]]:
    rejected: list[Rejection] = []
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    options = {"source": "import list.csv", "now": readers.now, "keyring": readers.keyring, **how}
    tally = suppression_lists.run(readers.engine, stream, Import(**options), reject=rejected.append)
    assert tally.read == tally.added + tally.known + tally.mailable + tally.rejected
    return tally, rejected


def give_out(engine: Engine) -> str:
    stream = io.StringIO()
    with sessions.reading(engine) as session:
        suppression_lists.write(session, stream)
    return stream.getvalue()


def causes(readers: Readers) -> dict[str | None, str]:
    with sessions.reading(readers.engine) as session:
        return {one.address: one.cause for one in suppression.listing(session, limit=100)}


def empty(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        session.execute(delete(Suppression))
        counts.recount(session)


def test_our_own_export_is_read_back_without_loss(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        each = {
            f"{cause}@x.org": Grounds(
                cause, f'"{cause}", he said; =1+1 ünïcode', "@list", readers.now - timedelta(days=9)
            )
            for cause in Cause
            if cause is not Cause.ERASED
        }
        suppression.suppress_each(session, each, now=readers.now, keyring=readers.keyring)
        forget.forget(session, "gone@x.org", now=readers.now, keyring=readers.keyring)
        # A complaint is graver than the erasure that followed.
        forget.forget(session, "complaint@x.org", now=readers.now, keyring=readers.keyring)
    before = give_out(readers.engine)
    assert "gone@" not in before
    empty(readers)

    tally, rejected = take_over(readers, before)

    assert (tally.added, rejected) == (len(each) + 1, [])
    assert sorted(give_out(readers.engine).splitlines()) == sorted(before.splitlines())
    for address in ("gone@x.org", "complaint@x.org"):
        with sessions.reading(readers.engine) as session:
            assert suppression.is_suppressed(session, address, keyring=readers.keyring)
    assert take_over(readers, before)[0].known == len(each) + 1


def test_the_hash_of_an_erased_person_is_effective_with_the_same_key_only(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        forget.forget(session, ANN, now=readers.now, keyring=readers.keyring)
    exported = give_out(readers.engine)
    empty(readers)
    take_over(readers, exported)

    other = Keyring(["another-9876543210fedcba9876543210fedcba"])
    with sessions.reading(readers.engine) as session:
        assert suppression.is_suppressed(session, ANN, keyring=readers.keyring)
        assert not suppression.is_suppressed(session, ANN, keyring=other)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("ann@x.org\n", "imported"),
        ("\ufeffAddress\r\nAnn@X.ORG\r\n", "imported"),
        ("emailAddress,reason\nann@x.org,BOUNCE\n", "bounce"),
        ("emailAddress,reason\nann@x.org,COMPLAINT\n", "complaint"),
        ("status,reason,email,created\n5.1.1,550 no,ann@x.org,1600000000\n", "bounce"),
        ("ip,email,created\n192.0.2.1,ann@x.org,1600000000\n", "complaint"),
        ("email,created\nann@x.org,1600000000\n", "imported"),
        ("address;cause\nann@x.org;Opt-Out\n", "opt-out"),
        ("address,cause\nann@x.org,\n", "imported"),
        ("E-Mail,Cause\nann@x.org,complaint\n", "complaint"),
        ("email,cause\nann@x.org,OPT_OUT\n", "opt-out"),
    ],
)
def test_the_lists_of_other_systems_are_understood(readers: Readers, text: str, cause: str) -> None:
    tally, rejected = take_over(readers, text)
    assert (tally.added, rejected) == (1, [])
    assert causes(readers) == {ANN: cause}


def test_a_plain_list_is_suppressed_for_the_cause_that_is_named(readers: Readers) -> None:
    take_over(readers, "ann@x.org\nbob@x.org\n", cause=Cause.OPT_OUT)
    assert causes(readers) == {ANN: "opt-out", "bob@x.org": "opt-out"}


def test_a_repeated_address_has_the_graver_cause(readers: Readers) -> None:
    lines = "address,cause\nann@x.org,dead\nann@x.org,complaint\nann@x.org,full\n"
    assert take_over(readers, lines)[0].added == 1
    assert causes(readers) == {ANN: "complaint"}
    # Also across batches; a lesser cause never replaces a graver one.
    take_over(readers, "address,cause\nann@x.org,full\nbob@x.org,dead\nbob@x.org,full\n", batch=1)
    assert causes(readers) == {ANN: "complaint", "bob@x.org": "dead"}


def test_readers_of_a_list_are_suppressed_and_their_mail_is_cancelled(
    readers: Readers,
) -> None:
    readers.add(ANN)
    readers.deliver(ANN, [State.QUEUED])

    take_over(readers, "emailAddress,reason\nann@x.org,COMPLAINT\n")

    assert readers.get(ANN).status == "suppressed"
    assert [row.state for row in readers.deliveries()] == ["cancelled"]
    assert readers.consents(ANN)[-1].source == "import list.csv"


def test_a_dry_run_counts_and_writes_nothing(readers: Readers) -> None:
    take_over(readers, "ann@x.org\n")
    lines = f"address,cause,hash\nann@x.org,dead,\nbob@x.org,dead,\n,erased,{'0' * 48}\n"

    tally, _ = take_over(readers, lines, is_dry=True)

    assert (tally.added, tally.known) == (2, 1)
    assert causes(readers) == {ANN: "imported"}


def test_readers_whom_a_list_has_as_active_stay_unchanged(readers: Readers) -> None:
    csv_rows = "address,status\nann@x.org,active\nbob@x.org,bounced\neve@x.org,pending\n"
    tally, _ = take_over(readers, csv_rows)
    assert (tally.added, tally.mailable) == (1, 2)
    assert causes(readers) == {"bob@x.org": "bounce"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ann@x.org,odd,,", "'odd' is no cause; there are full, dead, bounce, imported"),
        ("ann,dead,,", "no @"),
        ("ann@x.org,erased,,", "Of an erased person there is a hash, and no address."),
        (",erased,,zz", "'zz' is no hash of ours."),
        ("ann@x.org,dead,yesterday,", "'yesterday' is not a date."),
        ('"ann@x.org,dead,,', "The quotation marks do not pair."),
    ],
)
def test_an_invalid_line_is_reported_and_the_others_are_imported(
    readers: Readers, line: str, reason: str
) -> None:
    tally, (rejection,) = take_over(
        readers, f"address,cause,created_at,hash\n{line}\nbob@x.org,dead,,\n"
    )
    assert (rejection.line, tally.added) == (2, 1)
    assert reason in rejection.reason or reason == "no @"
    assert causes(readers) == {"bob@x.org": "dead"}


def test_a_future_date_becomes_now(readers: Readers) -> None:
    take_over(readers, "address,cause,created_at\nann@x.org,dead,2999-01-01\n")
    with sessions.reading(readers.engine) as session:
        (found,) = suppression.listing(session, limit=2)
    assert found.created_at == readers.now


@given(st.binary(max_size=300))
@examples(40, many=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_octets_are_read_as_a_list(sqlite_engine: Engine, octets: bytes) -> None:
    tally, rejected = take_over(Readers(sqlite_engine), b"address,cause,hash\n" + octets)
    assert asdict(tally)["rejected"] == len(rejected)
