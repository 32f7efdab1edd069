"""Editions: the list, one edition with its books and mail, and what can be done about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from operator_desk import OperatorDesk, text
from sqlmodel import col, select

from newsletter.articles import store
from newsletter.db import session as sessions
from newsletter.ledger.reasons import Reason
from newsletter.models import Delivery, Kind, Mailing, State
from newsletter.smtp.outcome import Kind as Outcome

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

HOSTILE = '<script>alert("1")</script>'


def share(page: str, state: str) -> str:
    """Return what the books of a page say of a state: readers and share."""
    found = re.search(rf"\b{state} ([\d,]+ [\d.]+ %)", page)
    assert found is not None, page
    return found[1]


def test_without_an_edition_the_list_says_what_to_do(desk: OperatorDesk) -> None:
    assert "No edition was made yet." in desk.read("/editions")


def test_the_list_has_editions_by_pages(desk: OperatorDesk, world: World) -> None:
    world.readers(3)
    for _ in range(53):
        world.tick(days=7)
        world.article()
        world.send()

    first = desk.get("/editions").text

    assert first.count('<th scope="row"') == 50
    assert len(first) < 60_000
    older = re.search(r"/editions\?before=\d+", first)
    assert older is not None
    rest = desk.read(older[0])
    assert rest.count("finished 20") == 3
    assert "Newest" in rest
    assert "3 100.0 % 0 0.0 % 0" in rest


def test_a_skipped_edition_is_listed_with_its_reason(desk: OperatorDesk, world: World) -> None:
    world.reader()
    slug = world.freeze().edition

    assert "There are no new articles." in desk.read("/editions")
    page = desk.read(f"/editions/{slug}")
    assert "skipped There are no new articles." in page
    assert "Books" not in page


def test_the_books_of_an_edition_sum_to_its_audience(desk: OperatorDesk, world: World) -> None:
    readers = world.readers(8)
    world.article(title="A finding")
    outcomes = {readers[0]: Outcome.REFUSED, readers[1]: Outcome.UNKNOWN}
    slug = world.send(outcomes=outcomes).edition

    page = desk.read(f"/editions/{slug}")

    assert share(page, "Accepted") == "6 75.0 %"
    assert share(page, "Refused") == "1 12.5 %"
    assert share(page, "Unknown") == "1 12.5 %"
    assert share(page, "Audience") == "8 100.0 %"
    assert "A finding to 8 readers" in page


def test_replies_are_grouped_by_their_codes_and_inert(desk: OperatorDesk, world: World) -> None:
    readers = world.readers(5)
    world.article()
    slug = world.send(outcomes=dict.fromkeys(readers[:3], Outcome.REFUSED)).edition
    with sessions.writing(world.engine) as session:
        refused = session.exec(select(Delivery).where(Delivery.state == State.REFUSED)).all()
        for place, row in enumerate(refused):
            row.code, row.enhanced, row.reply = 550, "5.1.1" if place else "5.7.1", HOSTILE

    page = desk.get(f"/editions/{slug}").text

    assert "the server says that there is no such mailbox" in page
    assert HOSTILE not in page
    assert f"550 5.1.1 {HOSTILE} 2" in text(page)
    assert f"550 5.7.1 {HOSTILE} 1" in text(page)


def test_goodbyes_are_counted_within_seven_days_of_those_who_got_it(
    desk: OperatorDesk, world: World
) -> None:
    readers = world.readers(6)
    world.article()
    slug = world.send(outcomes={readers[5]: Outcome.REFUSED}).edition
    world.tick(days=6)
    world.leave(readers[0])
    world.leave(readers[5])
    world.tick(days=2)
    world.leave(readers[1])

    assert "Goodbyes within 7 days 1 20.0 %" in desk.read(f"/editions/{slug}")


def test_the_mail_is_shown_in_a_frame_that_runs_nothing(desk: OperatorDesk, world: World) -> None:
    world.reader()
    world.article(title=f"A finding {HOSTILE}")
    slug = world.send().edition

    page = desk.get(f"/editions/{slug}").text

    assert HOSTILE not in page
    frame = re.search(r'<iframe class="mail" src="([^"]+)"[^>]*sandbox="([^"]*)"', page)
    assert frame is not None
    assert "allow-scripts" not in frame[2]
    assert "allow-same-origin" not in frame[2]
    mail = desk.get(frame[1])
    assert mail.status_code == 200
    assert "sandbox" in mail.headers["Content-Security-Policy"]
    assert "script" not in mail.headers["Content-Security-Policy"]
    assert mail.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert HOSTILE not in mail.text
    assert "A finding" in mail.text


def test_each_variant_has_its_articles_and_mail(desk: OperatorDesk, world: World) -> None:
    early = world.reader()
    world.article(title="Older")
    world.send(outcomes={early: Outcome.REFUSED})
    world.tick(days=1)
    world.readers(2)
    world.tick(days=6)
    world.article(title="Newer")
    slug = world.send().edition

    page = desk.get(f"/editions/{slug}").text

    assert "2 variants" in text(page)
    assert "Older</a>" not in page
    other = re.search(rf"/editions/{slug}\?variant=[\w-]+", page)
    assert other is not None
    assert "Older</a>" in desk.get(other[0]).text
    with sessions.reading(world.engine) as session:
        letter = session.exec(select(Mailing.public_id).where(Mailing.kind == Kind.DIGEST)).all()
    assert len(letter) == 3
    assert desk.get(f"/editions/{slug}/mail?variant={letter[0]}").status_code == 404


def test_an_edition_is_paused_resumed_and_cancelled(desk: OperatorDesk, world: World) -> None:
    world.readers(3)
    world.article()
    slug = world.freeze().edition
    world.deliver(limit=1)
    own = f"/editions/{slug}"

    assert f"{slug} is paused" in desk.do(f"{own}/pause", on=own)
    assert world.take() == []
    assert f"Waits for you {slug} is paused" in desk.read("/")
    resumed = desk.do(f"{own}/resume", on=own)
    assert "2 readers to go." in resumed
    asked = desk.read(f"{own}/cancel")
    assert "1 reader has it already. 2 readers will not get it" in asked
    assert world.summary(slug).state == "open"
    done = desk.do(f"{own}/cancel", {"reason": HOSTILE}, on=f"{own}/cancel")

    assert f"{slug} is cancelled: 1 reader had it, 2 will not get it." in done
    assert f"cancelled {HOSTILE}" in done
    assert world.summary(slug).state == "cancelled"
    assert desk.audited() == [
        ("editions.pause", f"edition:{slug}", ""),
        ("editions.resume", f"edition:{slug}", ""),
        ("editions.cancel", f"edition:{slug}", HOSTILE),
    ]
    assert "open paused" in done
    assert HOSTILE not in desk.get(own).text
    refused = desk.post(f"{own}/pause", on=own)
    assert refused.status_code == 409
    assert "nothing of it is on its way" in text(refused.text)


def test_progress_is_shown_while_an_edition_is_sent(desk: OperatorDesk, world: World) -> None:
    world.readers(4)
    world.article()
    slug = world.freeze().edition
    world.deliver(limit=1)

    page = desk.get(f"/editions/{slug}").text

    assert 'data-refresh="3"' in page
    assert f"{slug}: 1 of 4 done (25 %)" in text(page)


def test_a_correction_is_looked_at_and_then_queued(desk: OperatorDesk, world: World) -> None:
    readers = world.readers(3)
    article = world.article(title="The dose")
    slug = world.send(outcomes={readers[0]: Outcome.REFUSED}).edition
    own = f"/editions/{slug}/correct"
    fields = {"article": article, "text": f"It is 5 mg. {HOSTILE}\r\n\r\nNot 50.", "subject": ""}

    assert "The dose" in desk.read(own)
    looked = desk.post(own, fields, on=own)

    assert looked.status_code == 200
    assert "It goes to 2 readers" in text(looked.text)
    assert HOSTILE not in looked.text
    assert "It is 5 mg." in text(looked.text)
    assert desk.audited() == []
    sent = desk.do(f"{own}/send", fields, on=own)
    assert "The correction is queued for 2 readers." in sent
    assert "2 2 queued" in sent
    assert desk.audited() == [("editions.correct", f"edition:{slug}", f"article {article}")]
    with sessions.reading(world.engine) as session:
        kind = select(Mailing.id).where(Mailing.kind == Kind.CORRECTION)
        queued = session.exec(select(Delivery).where(col(Delivery.mailing_id).in_(kind))).all()
    assert len(queued) == 2
    assert "Its correction is cancelled for 2 readers." in desk.read(f"/editions/{slug}/cancel")
    desk.do(f"/editions/{slug}/cancel", on=own)
    with sessions.reading(world.engine) as session:
        states = session.exec(select(Delivery.reason).where(col(Delivery.mailing_id).in_(kind)))
        assert set(states) == {Reason.EDITION_CANCELLED}


@pytest.mark.parametrize("text_", ["", "x" * 6_000])
def test_a_correction_without_words_or_with_too_many_is_refused(
    desk: OperatorDesk, world: World, text_: str
) -> None:
    world.reader()
    article = world.article()
    slug = world.send().edition
    own = f"/editions/{slug}/correct"

    answer = desk.post(own, {"article": article, "text": text_}, on=own)

    assert answer.status_code == 422
    assert "correction" in text(answer.text)


@pytest.mark.parametrize(
    "path", ["/editions/weekly-2031-01-06", "/editions/weekly-2031-01-06/mail"]
)
def test_an_edition_that_there_is_not_is_not_found(desk: OperatorDesk, path: str) -> None:
    answer = desk.get(path, params={"variant": "x"})

    assert answer.status_code == 404
    assert "There is no edition weekly-2031-01-06." in text(answer.text)


def test_articles_edited_since_are_marked_and_lead_to_the_site(
    desk: OperatorDesk, world: World
) -> None:
    world.reader()
    article = world.article()
    slug = world.send().edition
    own = f"/editions/{slug}"
    assert 'href="https://miasfeed.example/' in desk.get(own).text
    assert "edited since" not in desk.read(own)
    with sessions.writing(world.engine) as session:
        store.change_article(session, article, {"content_hash": "0" * 64})

    assert "edited since" in desk.read(own)
