"""What comes back of a mail has its effect: once, and on nobody whom it does not name."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import bounces
import counts
import damage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import Readers
from returning import NOW, Sent
from sqlalchemy import Engine, select, update
from sqlalchemy import event as events
from sqlmodel import col

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.feedback import apply
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict
from newsletter.ledger import books, reports
from newsletter.models import Attempt, Delivery, Mailing, Rejection, State
from newsletter.models import Report as Report_
from newsletter.return_path import ReturnPath
from newsletter.subscribers import forget, signup, suppress
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Bearer, Keyring

ANN, BOB = "ann@readers.example", "bob@readers.example"
FULL = "552 5.2.2 Mailbox full"
DISABLED = "550 5.2.1 Mailbox disabled"


@pytest.fixture
def sent(engine: Engine) -> Sent:
    """Two readers who have been sent a mail."""
    readers = Readers(engine)
    readers.add(ANN, Cadence.WEEKLY)
    readers.add(BOB, Cadence.WEEKLY)
    found = Sent(readers)
    found.mail(1)
    return found


def states(sent: Sent) -> dict[str, int]:
    with sessions.reading(sent.engine) as session:
        found = books.count_states(session, select(Mailing.id))
        return {state.value: count for state, count in found.items() if count}


def returned(sent: Sent) -> dict[str, int]:
    with sessions.reading(sent.engine) as session:
        found = reports.of(select(Mailing.id))
        return {row.kind: int(row.rows) for row in session.execute(select(found))}


def test_a_dead_address_is_suppressed_by_the_message_id_alone(sent: Sent) -> None:
    tally = sent.read(sent.bounce(ANN))

    assert (tally.bounced, tally.suppressed) == (1, 1)
    assert sent.suppressed() == {ANN: "bounce: 550 5.1.1 No such user"}
    assert (sent.status(ANN), sent.status(BOB)) == ("suppressed", "active")
    # What the server said stays, and the bounce stands beside it.
    assert states(sent) == {"accepted": 2}
    assert returned(sent) == {"bounce": 1}


def test_a_signed_return_path_alone_names_the_readers_last_mail(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)

    tally = sent.read(sent.bounce(ANN, number=None, to=path.upper()))

    assert (tally.bounced, tally.suppressed) == (1, 1)
    assert sent.reports() == [("bounce", "dead", None, True)]


def test_an_address_alone_suppresses_nobody_and_is_listed(sent: Sent) -> None:
    tally = sent.read(sent.bounce(ANN, number=None))

    assert (tally.unplaced, tally.suppressed) == (1, 0)
    assert sent.suppressed() == {}
    assert sent.reports() == [("bounce", "dead", "names no mail of ours", False)]
    assert returned(sent) == {}


def test_a_return_path_that_is_signed_elsewhere_is_rejected_and_counted(sent: Sent) -> None:
    foreign = ReturnPath(
        "bounces+{token}@miasfeed.example", Keyring(["f" * 16 + "0123456789abcdef"])
    )
    path = foreign.of(sent.readers.get(ANN).public_id)

    tally = sent.read(sent.bounce(ANN, number=None, to=path))

    assert (tally.unplaced, tally.suppressed) == (1, 0)
    assert tally.rejected == {"mail: return path": 1}
    with sessions.reading(sent.engine) as session:
        (row,) = session.execute(select(Rejection)).scalars()
        assert (row.source, row.cause, row.count) == ("mail", "return path", 1)


def test_a_return_path_of_one_and_the_mail_of_another_name_nobody(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(BOB).public_id)

    assert sent.read(sent.bounce(ANN, to=path)).unplaced == 1
    assert sent.suppressed() == {}
    assert sent.reports() == [("bounce", "dead", "names two readers", False)]


def test_the_death_of_another_mailbox_is_a_doubt_about_who_forwards_to_it(sent: Sent) -> None:
    sent.mail(2, at=NOW + timedelta(days=3))

    tally = sent.read(sent.bounce(ANN, recipient="ann@old-job.example"))
    assert (tally.bounced, tally.suppressed) == (1, 0)
    assert sent.reports() == [("bounce", "maybe", "another recipient", True)]

    later = sent.bounce(ANN, number=2, recipient="ann@old-job.example")
    assert sent.read(later, at=NOW + timedelta(days=4)).suppressed == 1


def test_the_same_mail_again_and_from_elsewhere_changes_nothing(sent: Sent) -> None:
    mail = sent.bounce(ANN)
    sent.read(mail, mail)
    with sessions.writing(sent.engine) as session:
        origin = Origin("command line")
        suppress.release(session, ANN, origin=origin, now=NOW, keyring=sent.keyring)

    again = sent.read(mail, b"Received: from elsewhere\n" + mail)

    assert (again.repeated, again.suppressed) == (2, 0)
    assert sent.suppressed() == {}
    assert sent.reports() == [("bounce", "dead", None, True)]


def test_an_old_bounce_does_not_end_a_newer_consent(sent: Sent) -> None:
    mail = sent.bounce(ANN)
    sent.readers.add(ANN, Cadence.DAILY, again=True, generation=2)

    tally = sent.read(mail, sent.complaint(ANN))

    assert tally.suppressed == 0
    assert sent.status(ANN) == "active"
    assert {reason for _, _, reason, _ in sent.reports()} == {"an earlier consent"}


@pytest.mark.parametrize(
    ("days", "is_dead"), [((0, 3), True), ((0, 2), False), ((0, 1, 2, 3), True)]
)
def test_a_doubt_that_is_repeated_three_days_later_suppresses(
    sent: Sent, days: tuple[int, ...], is_dead: bool
) -> None:
    for number, day in enumerate(days[1:], 2):
        sent.mail(number, at=NOW + timedelta(days=day))
    mails = [sent.bounce(ANN, DISABLED, number=number + 1) for number in range(len(days))]

    sent.read(*mails, at=NOW + timedelta(days=9))

    reason = f"bounce: again after 3 days or more: {DISABLED}"
    assert sent.suppressed() == ({ANN: reason} if is_dead else {})


def test_a_mail_between_of_which_nothing_came_back_takes_the_doubt_away(sent: Sent) -> None:
    for number, day in ((2, 2), (3, 4)):
        sent.mail(number, at=NOW + timedelta(days=day))
    sent.read(sent.bounce(ANN, DISABLED), at=NOW + timedelta(days=1))

    sent.read(sent.bounce(ANN, DISABLED, number=3), at=NOW + timedelta(days=7))
    assert sent.suppressed() == {}

    # It came back, too, only later.
    sent.read(sent.bounce(ANN, DISABLED, number=2), at=NOW + timedelta(days=8))
    sent.mail(4, at=NOW + timedelta(days=8))
    sent.read(sent.bounce(ANN, DISABLED, number=4), at=NOW + timedelta(days=9))
    assert list(sent.suppressed()) == [ANN]


def test_full_mailboxes_behind_a_relay_that_queues_count_in_a_row(sent: Sent) -> None:
    for number in (2, 3, 4):
        sent.mail(number, at=NOW + timedelta(days=number))
    sent.read(sent.bounce(ANN, FULL, number=1))
    sent.read(sent.bounce(ANN, FULL, number=3))
    assert sent.suppressed() == {}

    # In any order: the fourth of them is not needed.
    sent.read(sent.bounce(ANN, FULL, number=2))
    sent.read(sent.bounce(ANN, FULL, number=4))

    assert sent.suppressed() == {ANN: f"full: 4 mails in a row: {FULL}"}


@pytest.mark.parametrize(
    ("reply", "action", "verdict"),
    [
        ("450 4.2.0 Greylisted", "delayed", "delayed"),
        ("550 5.7.1 Blocked by policy", "failed", "ours"),
        ("550 5.7.26 SPF and DKIM missing", "failed", "ours"),
    ],
)
def test_what_is_not_about_the_reader_leaves_them_alone(
    sent: Sent, reply: str, action: str, verdict: str
) -> None:
    for _ in range(5):
        sent.read(sent.bounce(ANN, reply, action=action))

    assert sent.status(ANN) == "active"
    assert sent.suppressed() == {}
    kind = "delayed" if action == "delayed" else "bounce"
    assert sent.reports() == [(kind, verdict, None, kind == "bounce")]


def test_a_complaint_suppresses_at_once_also_the_address_of_today(sent: Sent) -> None:
    with sessions.writing(sent.engine) as session:
        ann = session.merge(sent.readers.get(ANN))
        ann.address = "ann@new.example"
    mail = sent.complaint("ann@new.example", recipient=ANN)

    assert sent.read(mail).complained == 1

    assert set(sent.suppressed()) == {ANN, "ann@new.example"}
    assert sent.status("ann@new.example") == "suppressed"
    assert returned(sent) == {"complaint": 1}


def test_a_complaint_without_a_recipient_counts_by_its_message_id(sent: Sent) -> None:
    assert sent.read(sent.complaint(ANN, recipient="redacted")).complained == 1

    assert list(sent.suppressed()) == [ANN]


def test_an_opt_out_unsubscribes_and_suppresses_nobody(sent: Sent) -> None:
    tally = sent.read(sent.complaint(ANN, of="opt-out"))

    assert (tally.unsubscribed, tally.suppressed) == (1, 0)
    assert sent.status(ANN) == "unsubscribed"
    assert sent.read(sent.complaint(ANN, of="opt-out", own_id="other")).already == 1


def test_what_was_unknown_is_settled_as_accepted_by_its_bounce(sent: Sent) -> None:
    sent.mail(2, state=State.UNKNOWN)

    sent.read(sent.bounce(ANN, FULL, number=2))

    assert states(sent) == {"accepted": 3, "unknown": 1}
    assert returned(sent) == {"bounce": 1}


@pytest.mark.parametrize("state", [State.REFUSED, State.CANCELLED])
def test_a_bounce_of_what_was_never_accepted_has_no_effect(sent: Sent, state: State) -> None:
    sent.mail(2, state=state)

    sent.read(sent.bounce(ANN, number=2))

    assert sent.suppressed() == {}
    assert sent.reports() == [("bounce", "dead", "not accepted before", True)]
    assert returned(sent) == {}


def event(sent: Sent, address: str, *, event_id: str = "1", of: str = ANN, **more: bool) -> Arrival:
    """A provider's event about the mail to `of`."""
    report = Report(
        address, Verdict.DEAD, 550, "5.1.1", text="gone", message_id=sent.message_id(of)
    )
    return Arrival(Source.MAILGUN, event_id, Returned(Kind.BOUNCE, (report,)), **more)  # type: ignore[arg-type]


def test_an_event_counts_only_if_it_names_the_mail_and_its_recipient(sent: Sent) -> None:
    found = apply.apply_all(
        sent.engine,
        [event(sent, BOB, of=ANN), event(sent, BOB, event_id="2", of=BOB)],
        rules=sent.rules,
        now=NOW,
    )

    assert (found.unplaced, found.bounced, found.suppressed) == (1, 1, 1)
    assert sent.suppressed() == {BOB: "bounce: 550 5.1.1 gone"}


def test_a_provider_whose_events_never_name_a_mail_is_found(sent: Sent) -> None:
    def lost() -> dict[str, int]:
        with sessions.reading(sent.engine) as session:
            return reports.lost_sources(session, since=NOW - timedelta(days=7), at_least=2)

    stray = event(sent, "x@readers.example")
    some = [replace(stray, id=str(number)) for number in range(3)]
    apply.apply_all(sent.engine, some[:1], rules=sent.rules, now=NOW)
    assert lost() == {}
    apply.apply_all(sent.engine, some, rules=sent.rules, now=NOW)
    assert lost() == {"mailgun": 3}
    apply.apply_all(sent.engine, [event(sent, ANN, event_id="9")], rules=sent.rules, now=NOW)
    assert lost() == {}


def test_a_signature_that_does_not_cover_the_event_is_good_for_one(sent: Sent) -> None:
    harmless = Returned(Kind.DELIVERED, (Report(ANN, Verdict.DELIVERED),))
    nonce = Arrival(Source.MAILGUN, "token", harmless, is_nonce=True)

    found = apply.apply_all(
        sent.engine,
        [nonce, event(sent, ANN, event_id="token", is_nonce=True)],
        rules=sent.rules,
        now=NOW,
    )

    assert (found.delivered, found.repeated, found.suppressed) == (1, 1, 0)
    assert found.rejected == {"mailgun: replayed": 1}


@pytest.mark.parametrize("many", [1_000, pytest.param(100_000, marks=pytest.mark.torture)])
def test_a_damaged_mail_has_no_effect_on_whom_it_does_not_name(sent: Sent, many: int) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)
    named = [
        sent.bounce(ANN),
        sent.bounce(ANN, DISABLED, number=None, to=path),
        sent.bounce(ANN, recipient=BOB),
        sent.complaint(ANN),
        sent.complaint(ANN, recipient=BOB, of="opt-out"),
    ]
    of_others = [one.mail.replace("ada@", "bob@").encode() for one in bounces.SAMPLES.values()]

    some = damage.damaged([*named, *of_others], many, seed=7)
    while batch := list(islice(some, 200)):
        sent.read(*batch)

    assert sent.status(BOB) == "active"
    assert set(sent.suppressed()) <= {ANN}
    assert {row[0] for row in sent.placed()} <= {ANN}


def test_a_batch_of_mails_that_name_thousands_is_read(sent: Sent) -> None:
    said = tuple(Report(f"r{n}@readers.example", Verdict.DEAD) for n in range(500))
    found = [Arrival(Source.MAIL, str(n), Returned(Kind.BOUNCE, said)) for n in range(200)]

    tally = apply.apply_all(sent.engine, found, rules=sent.rules, now=NOW)

    assert tally.unplaced == 200
    assert len(sent.reports()) == 200


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=600)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    recipient=ANYTHING | st.just(ANN.upper()),
    text=ANYTHING,
    status=ANYTHING | st.none(),
    code=st.integers(-(10**9), 10**9),
    message_id=ANYTHING | st.just("own"),
    kind=st.sampled_from(Kind),
    verdict=st.sampled_from(Verdict),
    source=st.sampled_from(Source),
)
def test_any_report_is_read_and_harms_nobody_whom_it_does_not_name(
    sent: Sent, message_id: str, kind: Kind, source: Source, **said: Any
) -> None:
    mail = sent.message_id(ANN) if message_id == "own" else message_id
    report = Report(message_id=mail, **said)
    found = Arrival(source, said["text"], Returned(kind, (report,)))

    apply.apply_all(sent.engine, [found, found], rules=sent.rules, now=NOW)

    assert sent.status(BOB) == "active"
    assert set(sent.suppressed()) <= {ANN}


def test_a_replayed_signature_acts_on_nobody(sent: Sent) -> None:
    opt_out = Report(BOB, Verdict.OPT_OUT, message_id=sent.message_id(BOB))
    harmless = Returned(Kind.DELIVERED, (Report(ANN, Verdict.DELIVERED),))
    first = Arrival(Source.MAILGUN, "token", harmless, is_nonce=True)
    forged = replace(first, returned=Returned(Kind.UNSUBSCRIBE, (opt_out,)))

    for batch in ([first, forged], [forged]):
        apply.apply_all(sent.engine, batch, rules=sent.rules, now=NOW)

    assert sent.status(BOB) == "active"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_reports_about_one_mail_the_graver_counts(sent: Sent, order: int) -> None:
    mails = [sent.bounce(ANN), sent.bounce(ANN, FULL)]

    assert sent.read(*mails[::order]).suppressed == 1


def test_what_was_lifted_is_not_suppressed_again_by_the_same_report(sent: Sent) -> None:
    mail = sent.bounce(ANN)
    sent.read(mail)
    with sessions.writing(sent.engine) as session:
        origin = Origin("command line")
        suppress.release(session, ANN, origin=origin, now=NOW, keyring=sent.keyring)
        reports.prune(session, now=NOW + timedelta(days=40))

    # Its receipt is gone, and a provider says the same.
    again = sent.read(mail, at=NOW + timedelta(days=40))
    apply.apply_all(sent.engine, [event(sent, ANN)], rules=sent.rules, now=NOW)

    assert (again.bounced, again.suppressed) == (1, 0)
    assert sent.status(ANN) == "active"


@pytest.mark.parametrize("state", [State.DEFERRED, State.QUEUED])
def test_a_bounce_shows_that_an_uncertain_try_has_arrived(sent: Sent, state: State) -> None:
    mailing = sent.mail(2, state=state)
    with sessions.writing(sent.engine) as session:
        ids = session.execute(select(Delivery.id).where(col(Delivery.mailing_id) == mailing))
        for one in ids.scalars().all():
            session.add(Attempt(delivery_id=one, number=1, at=NOW, outcome="unknown", phase="body"))

    sent.read(sent.bounce(ANN, number=2))

    assert states(sent) == {"accepted": 3, state.value: 1}
    assert list(sent.suppressed()) == [ANN]
    assert returned(sent) == {"bounce": 1}


def test_a_bounce_that_came_too_early_does_not_hide_a_later_one(sent: Sent) -> None:
    mailing = sent.mail(2, state=State.DEFERRED)
    sent.read(sent.bounce(ANN, number=2))
    assert sent.suppressed() == {}
    with sessions.writing(sent.engine) as session:
        session.execute(
            update(Delivery).where(col(Delivery.mailing_id) == mailing).values(state=State.ACCEPTED)
        )
        counts.recount(session)

    sent.read(sent.bounce(ANN, number=2, own_id="later"))

    assert list(sent.suppressed()) == [ANN]
    assert returned(sent) == {"bounce": 1}


def test_a_signed_path_names_the_mail_before_the_bounce_by_its_date(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)
    for number in (2, 3):
        sent.mail(number, at=NOW + timedelta(days=number))
    mails = [
        sent.bounce(ANN, FULL, number=None, to=path, own_id="same", date=NOW + timedelta(days=day))
        for day in (1, 2, 3)
    ]

    for mail in mails:
        sent.read(mail.replace(b"<same@", f"<{mails.index(mail)}@".encode()), at=NOW + _MONTH)

    assert sent.suppressed() == {ANN: f"full: 3 mails in a row: {FULL}"}


def test_one_batch_may_name_a_reader_in_both_ways(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)

    tally = sent.read(sent.bounce(ANN, FULL), sent.bounce(ANN, number=None, to=path))

    assert (tally.bounced, tally.unplaced, tally.suppressed) == (2, 0, 1)


def test_a_complaint_about_a_confirm_letter_counts(sent: Sent) -> None:
    # Its generation is that of the consent to come.
    with sessions.writing(sent.engine) as session:
        session.execute(update(Delivery).where(col(Delivery.address) == ANN).values(generation=2))

    sent.read(sent.complaint(ANN))

    assert sent.suppressed() == {ANN: "complaint: abuse: Undelivered Mail Returned to Sender"}


def test_who_has_come_back_may_opt_out_again(sent: Sent) -> None:
    now = sent.readers.now + timedelta(hours=1)
    sent.read(sent.complaint(ANN, of="opt-out"), at=now)
    with sessions.writing(sent.engine) as session:
        bearer = Bearer(sent.readers.get(ANN).public_id, 1)
        signup.come_back(session, bearer, origin=Origin("web"), now=now)
    assert sent.status(ANN) == "active"

    again = sent.read(sent.complaint(ANN, of="opt-out", own_id="again"), at=now)

    assert again.unsubscribed == 1


def test_what_is_void_is_no_doubt_either(sent: Sent) -> None:
    sent.mail(2, at=NOW + timedelta(days=1), state=State.REFUSED)
    sent.mail(3, at=NOW + timedelta(days=5))

    mails = [sent.bounce(ANN, DISABLED, number=number) for number in (2, 3)]
    sent.read(*mails, at=NOW + timedelta(days=6))
    assert sent.suppressed() == {}

    sent.read(*mails, sent.bounce(ANN, DISABLED, number=2, own_id="b"), at=NOW + _MONTH)
    assert sent.suppressed() == {}


def test_a_report_of_authentication_does_not_hide_the_bounce(sent: Sent) -> None:
    sent.read(sent.complaint(ANN, of="auth-failure"))
    assert returned(sent) == {}

    sent.read(sent.bounce(ANN, "550 5.7.26 SPF and DKIM missing"))

    assert returned(sent) == {"bounce": 1}


def test_a_bounce_older_than_every_mail_names_none(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)
    date = NOW - timedelta(days=10)

    assert sent.read(sent.bounce(ANN, number=None, to=path, date=date)).unplaced == 1
    assert sent.suppressed() == {}


def test_a_delay_and_a_failure_with_one_name_are_two(sent: Sent) -> None:
    delayed = sent.bounce(ANN, "450 4.2.0 Greylisted", action="delayed", own_id="same")
    failed = sent.bounce(ANN, own_id="same")

    assert sent.read(delayed, failed).suppressed == 1


@pytest.mark.parametrize("is_batch", [True, False])
def test_uncertain_mails_that_came_back_full_are_in_a_row(sent: Sent, *, is_batch: bool) -> None:
    for number in (2, 3, 4):
        sent.mail(number, at=NOW + timedelta(days=number), state=State.UNKNOWN)
    mails = [sent.bounce(ANN, FULL, number=number) for number in (2, 3, 4)]

    for batch in [mails] if is_batch else [[one] for one in mails]:
        sent.read(*batch, at=NOW + timedelta(days=9))

    assert sent.suppressed() == {ANN: f"full: 3 mails in a row: {FULL}"}


def test_of_an_erased_person_no_former_address_stays(sent: Sent) -> None:
    with sessions.writing(sent.engine) as session:
        ann = session.merge(sent.readers.get(ANN))
        ann.address = "ann@new.example"
    sent.read(sent.complaint("ann@new.example", recipient=ANN))
    with sessions.writing(sent.engine) as session:
        forget.forget(session, "ann@new.example", now=NOW, keyring=sent.keyring)

    assert list(sent.suppressed()) == [None]
    with sessions.reading(sent.engine) as session:
        assert suppression.is_suppressed(session, ANN, keyring=sent.keyring)


def test_a_clock_that_is_slow_by_a_minute_does_not_take_the_mail_before(sent: Sent) -> None:
    path = sent.path.of(sent.readers.get(ANN).public_id)
    second = sent.mail(2, at=NOW + timedelta(hours=1))
    date = NOW + timedelta(minutes=59)

    sent.read(sent.bounce(ANN, FULL, number=None, to=path, date=date), at=NOW + _MONTH)

    with sessions.reading(sent.engine) as session:
        found = session.execute(select(Report_.mailing_id)).scalars().all()
    assert list(found) == [second]


def test_two_mails_with_one_name_to_two_return_paths_are_two(sent: Sent) -> None:
    paths = [sent.path.of(sent.readers.get(one).public_id) for one in (ANN, BOB)]
    # Words alone, which name nobody.
    said = "Subject: Undelivered\nFrom: <>\nMessage-ID: <1@mx.example>\nTo: {}\n\n550 5.2.2 Full"

    tally = sent.read(*(said.format(path).encode() for path in paths))

    assert (tally.bounced, tally.repeated) == (2, 0)


def test_of_another_spelling_of_an_erased_address_nothing_is_kept(sent: Sent) -> None:
    own, other = "jo@xn--bcher-kva.example", "jo@b\u00fccher.example"
    sent.readers.add(own, Cadence.WEEKLY)
    said = Report(other, Verdict.DEAD, text=f"<{own}> is gone")
    found = Arrival(Source.MAIL, "1", Returned(Kind.BOUNCE, (said,)))
    elsewhere = replace(said, recipient="fwd@else.example")
    forwarded = Arrival(Source.MAIL, "2", Returned(Kind.BOUNCE, (elsewhere,)))
    apply.apply_all(sent.engine, [found, forwarded], rules=sent.rules, now=NOW)
    with sessions.writing(sent.engine) as session:
        forget.forget(session, own, now=NOW, keyring=sent.keyring)

    later = replace(found, id="3")
    apply.apply_all(sent.engine, [later], rules=sent.rules, now=NOW)

    with sessions.reading(sent.engine) as session:
        rows = str(list(reports.listing(session, limit=None)))
    assert "jo@" not in rows
    assert "fwd@else.example" in rows


def test_what_names_no_mail_of_ours_warns_nobody(sent: Sent) -> None:
    path = ReturnPath("b+{token}@miasfeed.example", Keyring(["f" * 16 + "0123456789abcdef"]))
    forged = path.of(sent.readers.get(ANN).public_id)
    mail = sent.bounce(ANN, "550 5.7.26 SPF and DKIM missing", number=None, to=forged)

    assert sent.read(mail).ours == {}
    # And is counted once, however often it is read.
    assert sent.read(mail).rejected == {}


def test_200_dead_readers_take_few_statements(sent: Sent) -> None:
    addresses = [f"reader{number}@readers.example" for number in range(200)]
    for one in addresses:
        sent.readers.add(one, Cadence.WEEKLY)
    sent.mail(2)
    mails = [sent.bounce(one, number=2) for one in addresses]
    statements = []
    events.listen(sent.engine, "before_cursor_execute", lambda *found: statements.append(found[2]))

    assert sent.read(*mails).suppressed == 200

    assert len(statements) < 60


_MONTH = timedelta(days=30)


def test_of_an_erased_person_a_bounce_keeps_nothing(sent: Sent) -> None:
    mail, unplaced = sent.bounce(ANN), sent.bounce(ANN, number=None)
    sent.read(sent.bounce(ANN, FULL), unplaced)
    with sessions.writing(sent.engine) as session:
        forget.forget(session, ANN, now=NOW, keyring=sent.keyring)

    sent.read(mail)

    with sessions.reading(sent.engine) as session:
        rows = list(reports.listing(session, limit=None))
    assert "ann@" not in str(rows)
    # The books still have it.
    assert returned(sent) == {"bounce": 1}


def test_the_books_keep_what_came_back_of_pruned_deliveries(sent: Sent) -> None:
    sent.read(sent.bounce(ANN), sent.bounce(ANN, FULL), sent.complaint(BOB))
    with sessions.writing(sent.engine) as session:
        books.prune(session, mailing_id=1, after="", limit=1)

    assert returned(sent) == {"bounce": 1, "complaint": 1}

    with sessions.writing(sent.engine) as session:
        books.prune(session, mailing_id=1, after="", limit=10)
    assert returned(sent) == {"bounce": 1, "complaint": 1}
    assert sent.reports() == []
    assert sent.read(sent.bounce(BOB)).unplaced == 1


def test_receipts_and_what_is_unplaced_are_kept_for_a_month(sent: Sent) -> None:
    sent.read(sent.bounce(ANN, number=None), sent.bounce(BOB))

    for days, left in ((30, 0), (31, 3)):
        with sessions.writing(sent.engine) as session:
            assert reports.prune(session, now=NOW + timedelta(days=days)) == left
    assert sent.reports() == [("bounce", "dead", None, True)]


def test_what_nobody_can_place_has_a_bound(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "UNPLACED_AT_MOST", 3)

    for number in range(3):
        mails = [sent.bounce(ANN, number=None, own_id=f"{number}-{n}") for n in range(2)]
        assert sent.read(*mails, at=NOW + timedelta(days=number)).unplaced == 2

    with sessions.reading(sent.engine) as session:
        kept = [row["at"] for row in reports.listing(session, limit=None)]
    # The oldest give way.
    assert [at.day - NOW.day for at in kept if isinstance(at, datetime)] == [2, 2, 1]
