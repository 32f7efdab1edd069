"""Next: the digest of each cadence before it is made, and everything that an editor can change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import ledgers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_desk import OperatorDesk, text
from scripted_smtp import ScriptedServer, running

from newsletter.articles import store
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import arranging, publish
from newsletter.models import Article

if TYPE_CHECKING:
    from tests.integration.desk.conftest import MakeDesk
    from tests.integration.editions.conftest import World

WEEKLY = "/next/weekly"
HOSTILE = '"><script>alert(1)</script>'


def listed(desk: OperatorDesk) -> list[int]:
    """Return the articles of the next weekly digest in their order, as the page shows them."""
    return [int(one) for one in re.findall(r'<a id="t(\d+)"', desk.get(WEEKLY).text)]


def newest(world: World, number: int) -> list[int]:
    found = world.articles(number)[::-1]
    world.tick(minutes=1)
    return found


@pytest.fixture
def three(desk: OperatorDesk, world: World) -> list[int]:
    """Three articles, the newest first, of which the desk knows."""
    found = newest(world, 3)
    desk.wait(minutes=1)
    return found


def test_without_articles_the_page_says_what_happens(desk: OperatorDesk) -> None:
    assert "Nothing is new yet: without articles the edition is skipped." in desk.read("/next")
    page = desk.read(WEEKLY)
    assert "Nothing is new since the last edition." in page
    assert desk.get(f"{WEEKLY}/mail").status_code == 404


def test_each_cadence_has_its_next_edition(
    desk: OperatorDesk, world: World, three: list[int]
) -> None:
    world.readers(2, "daily")
    world.reader("weekly")

    page = desk.read("/next")

    assert "daily-2026-11-22, due 2026-11-22 07:00 , for 2 active readers." in page
    assert "weekly-2026-11-23, due 2026-11-23 07:00 , for 1 active reader." in page
    assert "monthly-2026-12-01" in page
    assert "3 new articles; the lead is Article 3" in page


def test_the_digest_is_listed_as_the_mail_has_it(desk: OperatorDesk, three: list[int]) -> None:
    assert listed(desk) == three
    mail = desk.get(f"{WEEKLY}/mail")
    assert "sandbox" in mail.headers["Content-Security-Policy"]
    assert all(f"Article {id_}" in mail.text for id_ in three)


def test_an_article_is_moved_and_the_order_is_reset(desk: OperatorDesk, three: list[int]) -> None:
    one, two, three_ = three

    page = desk.do(f"{WEEKLY}/move", {"to": f"{three_} 2"}, on=WEEKLY)
    assert "It is at place 2 now." in page
    assert listed(desk) == [one, three_, two]
    desk.do(f"{WEEKLY}/reset", on=WEEKLY)

    assert listed(desk) == three
    assert [action for action, _, _ in desk.audited()] == ["articles.order"] * 2


def test_places_are_written_beside_the_articles(desk: OperatorDesk, three: list[int]) -> None:
    one, two, three_ = three

    fields = {"listed": three, "place": [3, 2, 3]}
    page = desk.do(f"{WEEKLY}/order", fields, on=WEEKLY)

    assert "The order is kept." in page
    assert listed(desk) == [two, three_, one]


def test_a_pinned_article_leads_and_the_places_begin_below(
    desk: OperatorDesk, three: list[int]
) -> None:
    one, two, three_ = three
    desk.do("/articles/pin", {"article": two, "back": WEEKLY}, on=WEEKLY)
    assert listed(desk) == [two, one, three_]
    assert '<input type="hidden" name="first" value="2">' in desk.get(WEEKLY).text

    fields = {"listed": [one, three_], "place": [2, 1], "first": 2}
    assert desk.post(f"{WEEKLY}/order", {**fields, "place": [0, 3]}, on=WEEKLY).status_code == 422
    desk.do(f"{WEEKLY}/order", {**fields, "place": [3, 2]}, on=WEEKLY)

    assert listed(desk) == [two, three_, one]
    refused = desk.post(f"{WEEKLY}/move", {"to": f"{one} 1"}, on=WEEKLY)
    assert refused.status_code == 409
    assert "is pinned, and leads" in text(refused.text)


@pytest.mark.parametrize("to", ["", "1", "1 x", "1 1 1", "99999 1", f"{2**70} 1", "-1 2"])
def test_a_move_of_nothing_changes_nothing(desk: OperatorDesk, three: list[int], to: str) -> None:
    answer = desk.post(f"{WEEKLY}/move", {"to": to}, on=WEEKLY)

    assert answer.status_code in {404, 422}
    assert desk.audited() == []


def test_words_are_written_and_reset(desk: OperatorDesk, three: list[int]) -> None:
    own = f"/articles/{three[0]}"
    fields = {"title": f"Ours {HOSTILE}", "standfirst": "Said by us.", "back": WEEKLY}

    page = desk.do(f"{own}/words", fields, on=own)
    assert f"Ours {HOSTILE}" in page
    assert "edited" in page
    assert HOSTILE not in desk.get(WEEKLY).text
    shown = desk.get(own).text
    assert HOSTILE not in shown
    assert "The feed's: Article 3" in text(shown)
    mail = desk.get(f"{WEEKLY}/mail").text
    assert "Said by us." in mail
    assert HOSTILE not in mail
    page = desk.do(f"{own}/words", {"reset": "1", "title": "x"}, on=own)

    assert "The next mails have the words of its feed." in page
    assert "Said by us." not in desk.get(f"{WEEKLY}/mail").text
    assert [(action, detail) for action, _, detail in desk.audited()] == [
        ("articles.edit", "title"), ("articles.edit", "standfirst"),
    ] * 2  # fmt: skip
    empty = desk.post(f"{own}/words", {"title": " "}, on=own)
    assert empty.status_code == 422


def test_held_and_rejected_articles_leave_the_digest(desk: OperatorDesk, three: list[int]) -> None:
    one, two, three_ = three

    page = desk.do("/articles/hold", {"article": one, "back": WEEKLY}, on=WEEKLY)
    assert "1 article is held" in page
    desk.do("/articles/reject", {"article": two, "back": WEEKLY}, on=WEEKLY)

    assert listed(desk) == [three_]


def test_what_an_edition_has_cannot_be_held(desk: OperatorDesk, world: World) -> None:
    world.reader("daily")
    article = world.article()
    slug = world.send("daily").edition
    desk.wait(minutes=1)

    page = desk.get(WEEKLY).text

    assert listed(desk) == [article]
    assert f"; in {slug}" in re.sub(r"<[^>]+>", "", page)
    assert ">Hold<" not in page
    assert ">Pin<" in page


def test_a_note_is_written_and_removed(desk: OperatorDesk, three: list[int]) -> None:
    page = desk.do(f"{WEEKLY}/note", {"text": f"Dear *readers*\r\n\r\n{HOSTILE}"}, on=WEEKLY)

    assert "The note stands above the articles of the next weekly edition." in page
    shown = desk.get(WEEKLY).text
    assert "Dear *readers*" in shown
    assert HOSTILE not in shown
    mail = desk.get(f"{WEEKLY}/mail").text
    assert "<em>readers</em>" in re.sub(r"<em[^>]*>", "<em>", mail)
    assert "<script" not in mail
    desk.do(f"{WEEKLY}/note", {"text": "\n"}, on=WEEKLY)
    assert "readers" not in re.sub(r"<[^>]+>", "", desk.get(f"{WEEKLY}/mail").text).split("Why")[0]
    assert [action for action, _, _ in desk.audited()] == ["note.write", "note.remove"]
    long = desk.post(f"{WEEKLY}/note", {"text": "x" * 6_000}, on=WEEKLY)
    assert long.status_code == 422


def test_an_edition_is_skipped_and_unskipped(desk: OperatorDesk) -> None:
    skipped = desk.do(f"{WEEKLY}/skip", on=WEEKLY)
    assert "weekly-2026-11-23 is skipped; the next one is weekly-2026-11-30" in skipped
    assert "Make it after all" in skipped
    unskipped = desk.do(f"{WEEKLY}/unskip", on=WEEKLY)

    assert "weekly-2026-11-23 will be made." in unskipped
    assert desk.post(f"{WEEKLY}/unskip", on=WEEKLY).status_code == 409
    assert desk.audited() == [
        ("editions.skip", "edition:weekly-2026-11-23", ""),
        ("editions.unskip", "edition:weekly-2026-11-23", ""),
    ]


def test_the_plan_says_who_gets_what_when_it_is_asked_for(
    desk: OperatorDesk, world: World, three: list[int]
) -> None:
    readers = world.readers(4)
    world.pause_reader(readers[0])
    desk.wait(minutes=1)
    assert "readers would get" not in desk.read(WEEKLY)

    page = desk.read(f"{WEEKLY}?plan=1")

    assert "3 readers would get weekly-2026-11-23, in 1 mail." in page
    assert "paused the reader had paused 1" in page
    assert "How long it takes is not known" in page


def test_send_asks_once_more_and_leaves_the_mails_to_workers(
    desk: OperatorDesk, world: World, three: list[int]
) -> None:
    world.readers(3)
    desk.wait(minutes=1)
    assert "Send weekly-2026-11-16 now" in desk.read(WEEKLY)

    asked = desk.read(f"{WEEKLY}/send")
    assert "It goes to at most 3 active readers , with 3 articles." in asked
    assert "No worker is running: the next newsletter cron" in asked
    assert desk.audited() == []
    this = {"edition": "weekly-2026-11-16"}
    assert f'name="edition" value="{this["edition"]}"' in desk.get(f"{WEEKLY}/send").text
    sent = desk.do(f"{WEEKLY}/send", this, on=f"{WEEKLY}/send")

    assert "weekly-2026-11-16 is made for 3 readers. No worker is running" in sent
    assert ledgers.states(desk.engine)["queued"] == 3
    assert desk.audited() == [("editions.send", "edition:weekly-2026-11-16", "3 readers")]
    again = desk.read(f"{WEEKLY}/send")
    assert "The present period has its edition, weekly-2026-11-16" in again
    desk.do(f"{WEEKLY}/send", this, on=f"{WEEKLY}?")
    assert len(desk.audited()) == 1
    world.now = desk.now
    assert len(world.take()) == 3


def test_sending_without_articles_says_why_nothing_was_sent(
    desk: OperatorDesk, world: World
) -> None:
    world.reader()

    assert "0 articles are new" in desk.read(f"{WEEKLY}/send")
    this = {"edition": "weekly-2026-11-16"}
    page = desk.do(f"{WEEKLY}/send", this, on=f"{WEEKLY}/send")

    assert "weekly-2026-11-16 is skipped: There are no new articles." in page


def test_an_edition_is_not_sent_in_place_of_the_one_that_was_confirmed(
    desk: OperatorDesk, world: World, three: list[int]
) -> None:
    """The page was opened before the next period began, and its button pressed after."""
    world.readers(3)
    desk.wait(minutes=1)
    assert "Send weekly-2026-11-16 now" in desk.read(f"{WEEKLY}/send")
    desk.wait(days=1)
    desk.client.cookies.clear()
    desk.sign_in()

    answer = desk.post(f"{WEEKLY}/send", {"edition": "weekly-2026-11-16"})

    assert answer.status_code == 409
    assert "weekly-2026-11-16 is over" in text(answer.text)
    assert desk.audited() == []
    assert ledgers.states(desk.engine) == {}


def test_nothing_is_sent_with_settings_that_are_not_filled_in(desk_with: MakeDesk) -> None:
    desk = desk_with(postal_address="")
    desk.sign_in()
    world_of(desk).readers(1)

    answer = desk.post(f"{WEEKLY}/send", {"edition": "weekly-2026-11-16"})

    assert answer.status_code == 502
    assert "Nothing is sent" in text(answer.text)
    assert desk.audited() == []


def test_a_test_mail_is_what_the_edition_would_be(desk_with: MakeDesk) -> None:
    with running(ScriptedServer()) as server:
        desk = desk_with(smtp_url=f"smtp://127.0.0.1:{server.port}").sign_in()
        article = world_of(desk).article(title="The lead")
        with sessions.writing(desk.engine) as session:
            store.change_article(session, article, {"mail_title": "In our words"})
        desk.wait(minutes=1)

        page = desk.do(f"{WEEKLY}/test", {"to": "mia@miasfeed.example"}, on=WEEKLY)

    assert "Sent to mia@miasfeed.example; its links work for nobody." in page
    (mail,) = server.arrivals
    assert mail.recipient == "mia@miasfeed.example"
    assert b"Subject: In our words" in mail.content
    assert desk.audited() == [("preview.send", "preview:weekly", "In our words")]


def test_a_test_mail_that_no_server_takes_says_so(desk_with: MakeDesk) -> None:
    desk = desk_with(smtp_url="smtp://127.0.0.1:1").sign_in()
    world_of(desk).article()
    desk.wait(minutes=1)

    answer = desk.post(f"{WEEKLY}/test", {"to": "mia@miasfeed.example"}, on=WEEKLY)
    bad = desk.post(f"{WEEKLY}/test", {"to": "mia"}, on=WEEKLY)

    assert answer.status_code == 502
    assert "nothing was sent" in text(answer.text)
    assert bad.status_code == 422
    assert desk.audited() == []


def test_no_page_is_larger_than_60_000_octets(desk: OperatorDesk, world: World) -> None:
    for number in range(60):
        world.article(title=f"{number} " + "A headline of a usual length, which says much " * 2)
    desk.wait(minutes=1)

    page = desk.get(WEEKLY).text

    assert len(page.encode()) < 60_000
    assert "And 12 more articles, which the mail only counts." in text(page)


def test_a_cadence_that_there_is_not_is_refused(desk: OperatorDesk) -> None:
    assert desk.get("/next/hourly").status_code == 422


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_places_keep_every_article_and_a_single_one_is_taken_exactly(places: list[int]) -> None:
    ids = [100 + place for place in range(len(places))]
    assert sorted(arranging.by_place(ids, places)) == ids
    for was, to in enumerate(places, start=1):
        only = [to if at == was else at for at in range(1, len(ids) + 1)]
        moved = arranging.by_place(ids, only)
        assert moved.index(ids[was - 1]) == min(to, len(ids)) - 1


def test_the_page_and_the_preview_agree(desk: OperatorDesk, world: World, three: list[int]) -> None:
    desk.do(f"{WEEKLY}/move", {"to": f"{three[2]} 1"}, on=WEEKLY)

    rendered = publish.preview(
        desk.engine, Cadence.WEEKLY, now=desk.now, publication=world.publication
    )

    with sessions.reading(desk.engine) as session:
        lead: Article = store.article(session, listed(desk)[0])
    assert rendered.message.subject.startswith(lead.title)


def world_of(desk: OperatorDesk) -> World:
    from tests.integration.editions.conftest import World

    return World(desk.engine, desk.settings, now=desk.now)
