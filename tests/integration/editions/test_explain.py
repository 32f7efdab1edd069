"""Why did a reader not get it? Readers of every kind, as the operator on the phone reads them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import claimants
import ledgers
import pytest
from sqlalchemy import event, text, update
from sqlmodel import col, select

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import lifecycle, store
from newsletter.explain import page
from newsletter.explain import store as facts
from newsletter.explain.page import Page
from newsletter.ledger import dead_addresses, reasons, reports, retry
from newsletter.ledger.queue import Verdict
from newsletter.ledger.reasons import Reason
from newsletter.models import Delivery, Edition, Mailing
from newsletter.sender import limits
from newsletter.sender.limits import Limits
from newsletter.smtp import reply
from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply
from newsletter.subscribers import address_change, forget, signup, suppress
from newsletter.subscribers import store as readers
from newsletter.subscribers.consent import Origin
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Bearer

if TYPE_CHECKING:
    from terminal import Run

    from tests.integration.editions.conftest import World

ANN = "ann@example.org"
FIRST, SECOND = "weekly-2026-06-01", "weekly-2026-06-08"
BOX = Origin("box on https://miasfeed.example", wording="Yes, weekly.", remote="192.0.2.7")
GREYLISTED = (Phase.RCPT, Reply(450, "4.2.0 Greylisted, see https://example.org"))
GONE = (Phase.RCPT, Reply(550, "5.1.1 No such user"))
FULL = (Phase.RCPT, Reply(552, "5.2.2 Mailbox full"))
TAKEN = (Phase.BODY, Reply(250, "2.0.0 Ok: queued as 4F3"))


class Desk:
    """The operator, and what happens to one reader."""

    def __init__(self, world: World) -> None:
        self.world = world

    def page(self, address: str = ANN, edition: str | None = None) -> Page:
        with sessions.reading(self.world.engine) as session:
            chosen = store.by_slug(session, edition) if edition else None
            found = facts.read(
                session,
                address,
                publication=self.world.publication,
                limits=Limits(),
                now=self.world.now,
                edition=chosen,
            )
        return page.about(found) if chosen else page.of(found)

    def says(self, address: str = ANN, edition: str | None = None) -> str:
        """Return the answer, without what stands below it."""
        return " ".join(self.page(address, edition).answer)

    def history(self, address: str = ANN) -> list[str]:
        return [f"{one.name}: {one.sentence}" for one in self.page(address).entries]

    def ask(self, cadence: str = "weekly") -> None:
        with sessions.writing(self.world.engine) as session:
            signup.ask(
                session,
                ANN,
                cadence=Cadence(cadence),
                origin=BOX,
                publication=self.world.publication,
                now=self.world.now,
            )

    def confirm(self) -> str:
        with sessions.writing(self.world.engine) as session:
            reader = readers.find(session, ANN)
            assert reader is not None
            bearer = Bearer(reader.public_id, reader.generation)
            signup.confirm(
                session,
                bearer,
                origin=BOX,
                latest=None,
                publication=self.world.publication,
                now=self.world.now,
            )
            return reader.public_id

    def answered(self, phase: Phase, said: Reply, *, is_lost: bool = False) -> None:
        """Have the mail server answer to all that is due."""
        world = self.world
        claims = world.take()
        outcome = reply.lost(phase, "time-out") if is_lost else reply.classify(phase, said)
        verdicts = [
            Verdict(
                claim.id,
                claim.address,
                outcome,
                retry.decide(
                    outcome,
                    attempts=claim.attempts,
                    rules=retry.RetryRules("hold", ledgers.WAITS),
                    give_up_at=claim.give_up_at,
                    now=world.now,
                    rng=random.Random(1),
                ),
            )
            for claim in claims
        ]
        rules = dead_addresses.SuppressionRules(world.settings.keyring(), full_mailboxes=3)
        with sessions.writing(world.engine) as session:
            dead_addresses.suppress_dead(session, verdicts, rules=rules, now=world.now)
        claimants.record(world.engine, verdicts, 1, now=world.now)
        lifecycle.finish(world.engine, now=world.now)

    def suppressed(self, cause: Cause, reason: str, source: str = "command line") -> None:
        with sessions.writing(self.world.engine) as session:
            suppress.suppress(
                session,
                ANN,
                grounds=Grounds(cause, reason, source),
                now=self.world.now,
                keyring=self.world.settings.keyring(),
            )

    def came_back(self, kind: str, verdict: str, said: str) -> None:
        """Put a report beside the reader's newest mail."""
        with sessions.writing(self.world.engine) as session:
            newest = session.exec(select(Delivery).order_by(col(Delivery.id).desc())).first()
            assert newest is not None
            row = {
                "delivery_id": newest.id,
                "mailing_id": newest.mailing_id,
                "source": "mail",
                "kind": kind,
                "verdict": verdict,
                "recipient": ANN,
                "code": None,
                "enhanced": None,
                "phase": None,
                "reply": said,
                "reason": None,
                "is_void": False,
                "at": self.world.now,
            }
            reports.add(session, [row])

    def edition(self) -> None:
        self.world.article()
        self.world.freeze()


@pytest.fixture
def desk(world: World) -> Desk:
    # The day before the first edition.
    world.tick(days=-1)
    return Desk(world)


# Before the first edition


def test_a_new_reader_waits_for_the_first_edition(desk: Desk) -> None:
    desk.ask()
    desk.confirm()

    assert desk.says() == (
        "ann@example.org is weekly, active since 2026-05-31 07:00. "
        "Next: the weekly edition of Monday 01 June 2026, 07:00."
    )
    assert desk.history()[-1].startswith(
        ": signed up, weekly, to be confirmed by a letter; by: box on https://miasfeed.example "
        "from 192.0.2.7"
    )


def test_one_who_joined_after_the_edition_was_made_is_told_so(desk: Desk) -> None:
    desk.world.reader()
    desk.world.tick(days=1)
    desk.edition()
    desk.world.tick(hours=1)
    desk.world.reader("weekly", ANN)

    assert "They joined after weekly-2026-06-01 was made." in desk.says()
    assert "the reader subscribed after it was made (since 2026-06-01 08:00)" in desk.says(
        edition=FIRST
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "The letter that asks to confirm: is due since 2026-05-31 07:00"),
        (GREYLISTED, "450 4.2.0 Greylisted, see https://example.org: the server asks to come back"),
        (GONE, "refused for good: 550 5.1.1 No such user: the server says that there is no such"),
        (TAKEN, "Its link works until 2026-06-03 07:00; they may look into their spam folder."),
    ],
    ids=["on its way", "deferred", "refused", "accepted"],
)
def test_one_who_has_not_confirmed_is_told_what_became_of_the_letter(
    desk: Desk, said: tuple[Phase, Reply] | None, words: str
) -> None:
    desk.ask()
    if said is not None:
        desk.answered(*said)

    answer = desk.says()

    assert "ann@example.org is weekly, pending since 2026-05-31 07:00" in answer
    assert words in answer
    assert "Signing up again sends another letter: 1 a day at most, and 3 in 30 days." in answer


def test_one_who_had_not_confirmed_when_the_edition_was_made_is_told_so(desk: Desk) -> None:
    desk.world.reader()
    desk.ask()
    desk.world.tick(days=1)
    desk.edition()

    assert "no mail for this reader: the sign-up had not been confirmed" in desk.says(edition=FIRST)


# Editions


def test_an_accepted_edition_has_the_words_of_the_server_and_its_message_id(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*TAKEN)

    newest = desk.page().entries[0]

    assert "look into their spam folder" in desk.says()
    assert newest.sentence == (
        "the mail server took it 2026-06-01 07:00 (250 2.0.0 Ok: queued as 4F3)"
    )
    assert newest.message_id
    assert newest.state == "accepted"


def test_a_deferred_edition_says_when_it_is_tried_again_and_what_the_server_said(
    desk: Desk,
) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*GREYLISTED)

    newest = desk.page(edition=FIRST).entries[0]

    assert newest.sentence.startswith("is tried again from 2026-06-01 07:05 on; the last try: 450")
    assert newest.details == (
        (
            "2026-06-01 07:00 450 4.2.0 Greylisted, see https://example.org: "
            "the server asks to come back later"
        ),
    )


def test_what_may_have_arrived_is_said_to_be_so_with_the_way_out(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(Phase.BODY, Reply(0, ""), is_lost=True)

    answer = desk.says()

    assert "may or may not have arrived: the server's last answer is missing" in answer
    assert "`newsletter delivery retry" in answer
    desk.world.leave(reference(desk))
    assert "is not sent again: the reader had unsubscribed" in " ".join(desk.history())


def test_a_superseded_edition_names_the_one_that_has_its_articles(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.world.tick(days=7)
    desk.edition()

    assert (
        "weekly-2026-06-01: skipped: a newer edition was made before it could be sent, and has its "
        "articles: weekly-2026-06-08" in desk.history()
    )


def test_a_stale_edition_is_said_to_be_so(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.world.tick(days=8)
    lifecycle.expire(desk.world.engine, now=desk.world.now, times=desk.world.publication.send_times)

    answer = desk.says()

    assert "weekly-2026-06-01: skipped: it could not be sent in time" in answer
    assert "weekly-2026-06-08 was due 2026-06-08 07:00 and is not made yet" in answer


def test_a_cancelled_edition_has_the_operators_reason(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    lifecycle.cancel(
        desk.world.engine, FIRST, now=desk.world.now, reason="A wrong headline.", actor="cli:mia"
    )

    assert "cancelled: the operator cancelled the edition (A wrong headline)." in desk.says()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (None, "waits: the edition is paused by the operator."),
        (
            "25 of 100 accepted mails bounced (25 %)",
            "waits: the edition is paused: 25 of 100 accepted mails bounced (25 %).",
        ),
    ],
    ids=["by hand", "by an alarm"],
)
def test_a_paused_edition_says_by_what_and_how_it_goes_on(
    desk: Desk, reason: str | None, words: str
) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    lifecycle.pause(desk.world.engine, FIRST, now=desk.world.now, actor="cli:mia")
    with sessions.writing(desk.world.engine) as session:
        session.execute(update(Edition).values(reason=reason))

    assert words in desk.says()
    assert "`newsletter editions resume weekly-2026-06-01` lets it go on" in desk.says()


def test_a_paused_domain_is_named_with_its_end(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    with sessions.writing(desk.world.engine) as session:
        until = desk.world.now + timedelta(minutes=10)
        limits.set_pace(session, "example.org", paused_until=until, next_at=until, changed_at=until)

    assert "waits: nothing goes to example.org until 2026-06-01 07:10" in desk.says()


def test_what_is_being_sent_is_said_to_be_so(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    claims = claimants.claim(desk.world.engine, 1, limit=10, now=desk.world.now)
    assert "a worker has it, and sends it next" in desk.says()
    desk.world.mark(claims)
    assert "weekly-2026-06-01: is being sent now." in desk.says()
    desk.world.leave(reference(desk))
    assert "not again if that fails: the reader had unsubscribed" in " ".join(desk.history())


def test_a_skipped_edition_went_to_nobody(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.world.freeze()

    assert "weekly-2026-06-01: no mail for this reader: nobody got it: There are no new" in (
        desk.says()
    )


def test_a_cadence_that_was_switched_between_editions_leaves_nothing_new(desk: Desk) -> None:
    ann = desk.world.reader("weekly", ANN)
    desk.world.reader("daily")
    desk.world.reader()
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*TAKEN)
    desk.world.tick(minutes=5)
    desk.world.move(ann, "daily")
    desk.world.tick(minutes=5)
    desk.world.freeze("daily")

    answer = desk.says()

    assert "ann@example.org is daily, active" in answer
    assert (
        "daily-2026-06-01: no mail for this reader: no article was new to the reader, or too few "
        "were; the last that they had was weekly-2026-06-01" in answer
    )
    desk.world.tick(days=7)
    desk.edition()
    assert "the reader had chosen another cadence, daily (since 2026-06-01 07:05)" in desk.says(
        edition=SECOND
    )


def test_an_earlier_edition_that_was_on_its_way_is_named(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.world.take()
    desk.world.tick(days=7)
    desk.world.reader()
    desk.edition()

    assert (
        "no mail for this reader: an earlier edition was still on its way to the reader: "
        "weekly-2026-06-01" in desk.says(edition=SECOND)
    )


# Readers who get nothing


@pytest.mark.parametrize(
    ("days", "since", "after"),
    [
        (30, "paused since 2026-05-31 07:00, until 2026-06-30 07:00.", "Monday 06 July 2026"),
        (None, "paused since 2026-05-31 07:00.", "until the pause is ended"),
    ],
    ids=["until a date", "for good"],
)
def test_a_paused_reader_is_told_since_when_and_until_when(
    desk: Desk, days: int | None, since: str, after: str
) -> None:
    ann = desk.world.reader("weekly", ANN)
    desk.world.reader()
    desk.world.pause_reader(ann, days=days)
    desk.world.tick(days=1)
    desk.edition()

    answer = desk.says()

    assert since in answer
    until = " until 2026-06-30 07:00" if days else ""
    assert f"the reader had paused{until} (since 2026-05-31 07:00)" in answer
    assert after in answer


def test_editions_of_a_long_pause_stand_in_one_line(desk: Desk) -> None:
    ann = desk.world.reader("weekly", ANN)
    desk.world.reader()
    desk.world.pause_reader(ann)
    for days in (1, 7, 7):
        desk.world.tick(days=days)
        desk.edition()

    assert [line for line in desk.history() if "editions" in line] == [
        (
            "weekly-2026-06-01 to weekly-2026-06-15: 3 editions, no mail for this reader: "
            "the reader had paused (since 2026-05-31 07:00)"
        )
    ]


def test_one_who_has_left_and_come_back_has_both_in_the_history(desk: Desk) -> None:
    ann = desk.world.reader("weekly", ANN)
    desk.world.reader()
    desk.world.leave(ann)
    desk.world.tick(days=1)
    desk.edition()
    assert "no mail for this reader: the reader had unsubscribed" in desk.says()
    assert "Next: nothing; they are unsubscribed." in desk.says()

    desk.world.tick(hours=1)
    desk.ask()
    assert "They signed up again 2026-06-01 08:00 and have not confirmed." in desk.says()
    with sessions.writing(desk.world.engine) as session:
        reader = readers.find(session, ANN)
        assert reader is not None
        bearer = Bearer(reader.public_id, reader.generation + 1)
        signup.confirm(
            session,
            bearer,
            origin=BOX,
            latest=None,
            publication=desk.world.publication,
            now=desk.world.now,
        )
    assert "ann@example.org is weekly, active since 2026-06-01 08:00." in desk.says()
    assert "the reader had unsubscribed" in desk.says(edition=FIRST)


def test_a_dead_address_has_the_servers_words_and_the_way_out(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*GONE)

    answer = desk.says()

    assert "weekly-2026-06-01: refused for good: 550 5.1.1 No such user: the server says" in answer
    assert "is suppressed since 2026-06-01, dead: a mail server said that nobody is there" in answer
    assert "`newsletter suppression remove ann@example.org` lifts it, too." in answer
    assert "Next: nothing, while the address is suppressed." in answer


def test_a_full_mailbox_is_said_to_be_full(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*FULL)

    assert "refused for good: 552 5.2.2 Mailbox full: the mailbox is full." in desk.says()
    assert "Its articles come with their next edition." in desk.says()
    assert "Next: the weekly edition" in desk.says()


def test_a_soft_bounce_stands_beside_what_the_server_took(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*TAKEN)
    desk.world.tick(hours=3)
    desk.came_back("bounce", "full", "452 4.2.2 Over quota")

    newest = desk.page().entries[0]

    assert newest.sentence == (
        "the mail server took it, and then, 2026-06-01 10:00: the mailbox is full"
    )
    assert newest.details == (
        "2026-06-01 10:00 came back: the mailbox is full (452 4.2.2 Over quota)",
    )


def test_a_complaint_says_that_only_the_operator_lifts_it(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*TAKEN)
    desk.came_back("complaint", "complaint", "")
    desk.suppressed(Cause.COMPLAINT, "reported as spam", "mail")

    answer = desk.says()

    assert "and then, 2026-06-01 07:00: the reader complained about it as spam" in answer
    assert "complaint: the person complained about a mail as spam; reported as spam" in answer
    assert "Only `newsletter suppression remove ann@example.org` lifts it." in answer


def test_one_who_was_suppressed_by_hand_is_told_why(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.reader()
    desk.suppressed(Cause.OPERATOR, "Their lawyer wrote to us.")
    desk.world.tick(days=1)
    desk.edition()

    answer = desk.says()

    assert "operator: the operator said so; Their lawyer wrote to us (command line)." in answer
    assert "the address was suppressed: Their lawyer wrote to us (since 2026-05-31" in answer


def test_one_who_was_imported_as_blocked_is_no_reader_and_told_why(desk: Desk) -> None:
    desk.suppressed(Cause.IMPORTED, "imported as blocked", "import old.csv")

    answer = desk.says()

    assert answer.startswith("ann@example.org is no reader. ann@example.org is suppressed since")
    assert "another system had it as blocked; imported as blocked (import old.csv)" in answer
    assert desk.says(edition=None) == answer


def test_one_who_has_a_new_address_is_found_there_with_the_mails_to_the_old_one(
    desk: Desk,
) -> None:
    world, new = desk.world, "ann@new.example"
    world.reader("weekly", ANN)
    world.tick(days=1)
    desk.edition()
    with sessions.writing(world.engine) as session:
        reader = readers.find(session, ANN)
        assert reader is not None
        address_change.ask(session, reader, new, publication=world.publication, now=world.now)
    assert f"A change of address to {new} waits to be confirmed there" in desk.says()
    assert desk.says(new).startswith(f"A reader wants their mail to come to {new}.")
    assert ANN not in desk.says(new)

    with sessions.writing(world.engine) as session:
        reader = readers.find(session, ANN)
        assert reader is not None
        change = address_change.pending(session, reader, now=world.now)
        assert change is not None
        bearer = Bearer(change.public_id, reader.generation)
        address_change.confirm(
            session, bearer, origin=BOX, publication=world.publication, now=world.now
        )

    assert desk.says(ANN).startswith("Nothing is known about ann@example.org.")
    assert (
        "weekly-2026-06-01, to ann@example.org: cancelled: the reader's address had changed"
        in desk.history(new)
    )


def test_an_erased_reader_and_one_never_known_read_alike(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    with sessions.writing(desk.world.engine) as session:
        forget.forget(session, ANN, now=desk.world.now, keyring=desk.world.settings.keyring())

    for edition in (None, FIRST):
        erased, never = desk.page(ANN, edition), desk.page("bob@example.org", edition)
        assert erased.answer[0] == "Nothing is known about ann@example.org."
        assert repr(erased).replace("ann@", "bob@") == repr(never)


# Bounds


def test_of_a_pruned_edition_it_is_not_known_whether_a_reader_had_it(desk: Desk) -> None:
    desk.world.reader("weekly", ANN)
    desk.world.tick(days=1)
    desk.edition()
    desk.answered(*TAKEN)
    desk.world.tick(days=7)
    desk.edition()
    desk.answered(*TAKEN)
    with sessions.writing(desk.world.engine) as session:
        first = store.by_slug(session, FIRST)
        mailing = session.exec(select(Mailing.id).where(Mailing.edition_id == first.id)).one()
        session.execute(text("DELETE FROM delivery WHERE mailing_id = :id"), {"id": mailing})
        session.execute(update(Mailing).where(col(Mailing.id) == mailing).values(pruned_accepted=1))

    words = (
        "no mail for this reader: some of its deliveries were pruned (1); whether this reader's "
        "was among them is not known any more"
    )
    assert words in desk.says(edition=FIRST)
    assert f"{FIRST}: {words}" in desk.history()


def test_a_reader_with_thousands_of_mails_gets_the_newest_and_is_told_so(desk: Desk) -> None:
    ann = desk.world.reader("weekly", ANN)
    mailings = [f"mailing{number:09d}" for number in range(300)]
    for public_id in mailings:
        ledgers.fill(desk.world.engine, 1, public_id=public_id)
    with sessions.writing(desk.world.engine) as session:
        session.execute(update(Delivery).values(reference=ann))

    found = desk.page()

    assert sum(one.kind == "digest" for one in found.entries) == 20
    assert found.left_out == (
        (
            "The newest 20 of 300 mails are shown; `newsletter subscribers show ann@example.org "
            "--json` has all of them."
        ),
    )


def test_a_page_reads_deliveries_by_their_readers_alone(desk: Desk) -> None:
    world = desk.world
    ann = world.reader("weekly", ANN)
    ledgers.fill(world.engine, 20_000)
    with sessions.writing(world.engine) as session:
        # The oldest row: a walk over the newest rows of everybody would find it last.
        session.execute(
            update(Delivery)
            .where(col(Delivery.reference) == "reader1000000001")
            .values(reference=ann)
        )
    ran: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "delivery" in statement:
            ran.append((statement, parameters))

    event.listen(world.engine, "before_cursor_execute", note)
    desk.page()
    event.remove(world.engine, "before_cursor_execute", note)
    is_sqlite = world.engine.dialect.name == "sqlite"
    with world.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        word = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        plans = [
            "\n".join(
                str(row) for row in connection.exec_driver_sql(f"{word} {one}", parameters).all()
            )
            for one, parameters in ran
            if "delivery.reference IN" in one
        ]
    assert len(plans) == 2
    for plan in plans:
        assert "ix_delivery_reference" in plan, plan
        assert "SCAN delivery" not in plan, plan
        assert "Seq Scan on delivery" not in plan, plan


def test_every_reason_in_the_ledger_is_of_the_closed_list(desk: Desk) -> None:
    test_one_who_has_left_and_come_back_has_both_in_the_history(desk)
    with sessions.reading(desk.world.engine) as session:
        stored = session.exec(select(Delivery.reason).distinct()).all()
    assert {Reason(one) for one in stored if one} <= reasons.STORED


def reference(desk: Desk) -> str:
    with sessions.reading(desk.world.engine) as session:
        reader = readers.find(session, ANN)
        assert reader is not None
        return reader.public_id


# The command


def test_the_command_takes_any_spelling_and_prints_nothing_that_acts(
    make_world: Callable[..., World], run: Run
) -> None:
    world = make_world(timezone="Europe/Berlin")
    world.reader("weekly", ANN)
    world.tick(minutes=5)
    world.article()
    world.freeze()
    desk = Desk(world)
    desk.answered(Phase.RCPT, Reply(450, "4.2.0 [bold]wait\x1b[2J"))

    said = run("explain", " Ann@EXAMPLE.org ")

    assert said.code == 0
    assert said.out.startswith("ann@example.org is weekly, active since 2026-06-01 07:00.\n")
    assert "[bold]wait" in said.out
    assert "\x1b" not in said.out


def test_the_command_says_the_same_to_a_program(make_world: Callable[..., World], run: Run) -> None:
    world = make_world()
    world.reader("weekly", ANN)
    world.tick(minutes=5)
    world.article()
    world.freeze()
    world.pause_reader(reference(Desk(world)))

    found = run("explain", ANN, "--edition", FIRST, "--json").json

    assert found["is_known"] is True
    assert found["answer"][0] == f"{FIRST}: cancelled: the reader had paused."
    mail = found["entries"][0]
    assert (mail["name"], mail["state"], mail["reason"]) == (FIRST, "cancelled", "paused")


def test_an_edition_that_is_not_there_is_refused_with_the_way_out(
    make_world: Callable[..., World], run: Run
) -> None:
    make_world()

    said = run("explain", ANN, "--edition", SECOND)

    assert said.code != 0
    assert "There is no edition weekly-2026-06-08." in said.err
    assert run("explain", "no address").code == 2
    assert run("explain", "bob@example.org").out.startswith("Nothing is known about bob@")


def test_what_is_shown_of_an_erased_reader_is_what_is_shown_of_one_never_known(
    make_world: Callable[..., World], run: Run
) -> None:
    world = make_world()
    world.reader("weekly", ANN)
    run("subscribers", "forget", ANN, "--yes")

    erased, never = run("subscribers", "show", ANN), run("subscribers", "show", "bob@example.org")

    assert (erased.code, erased.out) == (never.code, never.out)
    assert erased.err.replace("ann@", "bob@") == never.err
