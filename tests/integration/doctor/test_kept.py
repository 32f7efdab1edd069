"""Findings stay from run to run, and say since when they have been there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.doctor import kept
from newsletter.doctor.findings import Checks, Finding, Level
from newsletter.doctor.kept import Kept

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
SPF = Finding(
    id="spf.one",
    level=Level.ERROR,
    sentence="miasfeed.example has no SPF record.",
    hint="Publish this one.",
    subject="miasfeed.example",
    record='miasfeed.example. IN TXT "v=spf1 -all"',
)
CLOCK = Finding(id="clock", level=Level.WARNING, sentence="It is slow.", hint="Set it.")


def keep(
    engine: Engine, found: Mapping[Checks, Iterable[Finding]], *, now: datetime = NOON
) -> None:
    with sessions.writing(engine) as session:
        kept.keep(session, found, now=now)


def all_of(engine: Engine) -> list[Kept]:
    with sessions.reading(engine) as session:
        return kept.all(session)


def test_a_finding_comes_back_as_it_was_said(engine: Engine) -> None:
    keep(engine, {Checks.DNS: [SPF]})

    assert all_of(engine) == [Kept(finding=SPF, checks=Checks.DNS, first_at=NOON, last_at=NOON)]


def test_a_finding_that_is_still_there_keeps_when_it_was_first_found(engine: Engine) -> None:
    keep(engine, {Checks.DNS: [SPF]})
    other = Finding(id="spf.one", level=Level.NOT_CHECKED, sentence="No answer.", hint="Again.")
    again = Finding(
        id=SPF.id, level=Level.WARNING, sentence="It is new.", hint="", subject=SPF.subject
    )
    keep(engine, {Checks.DNS: [again, other]}, now=LATER)

    found = {one.finding: (one.first_at, one.last_at) for one in all_of(engine)}
    assert found == {again: (NOON, LATER), other: (LATER, LATER)}


def test_a_run_replaces_the_findings_of_the_groups_that_it_checked_alone(engine: Engine) -> None:
    keep(engine, {Checks.DNS: [SPF], Checks.MACHINE: [CLOCK]})
    keep(engine, {Checks.MACHINE: []}, now=LATER)

    assert [one.finding for one in all_of(engine)] == [SPF]

    keep(engine, {Checks.DNS: []}, now=LATER)
    assert all_of(engine) == []


def test_a_finding_that_was_gone_for_a_run_is_a_new_one(engine: Engine) -> None:
    keep(engine, {Checks.MACHINE: [CLOCK]})
    keep(engine, {Checks.MACHINE: []})
    keep(engine, {Checks.MACHINE: [CLOCK]}, now=LATER)

    assert [one.first_at for one in all_of(engine)] == [LATER]


def test_a_subject_of_any_length_can_be_kept(engine: Engine) -> None:
    long = Finding(id="tls.relay", level=Level.ERROR, sentence="", hint="", subject="r" * 1_000)
    keep(engine, {Checks.RELAYS: [long]})

    assert [len(one.finding.subject) for one in all_of(engine)] == [254]


def test_two_findings_of_one_id_and_subject_are_kept_as_one(engine: Engine) -> None:
    keep(engine, {Checks.MACHINE: [CLOCK, CLOCK]})

    assert len(all_of(engine)) == 1


def test_nothing_to_keep_is_no_error(engine: Engine) -> None:
    keep(engine, {})

    assert all_of(engine) == []


def test_what_no_database_stores_is_kept_escaped(engine: Engine) -> None:
    # A selector of a mail, or the words of a server.
    found = Finding(
        id="dkim.signature",
        level=Level.ERROR,
        sentence="selector a\x00b\ud800",
        hint="\x1b[31m",
        subject="\x00",
        record="\x00",
    )

    keep(engine, {Checks.MAIL: [found]})

    (one,) = all_of(engine)
    assert one.finding.sentence == r"selector a\x00b\ud800"
    assert (one.finding.hint, one.finding.subject) == (r"\x1b[31m", r"\x00")
