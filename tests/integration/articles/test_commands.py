"""The commands `feeds` and `articles`, as an operator and a script see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import terminal
from terminal import Run

from .conftest import SAMPLES, Answer, Web

SAMPLE = str(SAMPLES / "mias-feed.rss.xml")


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    migrated_sqlite: Path,
) -> Run:
    """Run a command on a database of the test."""
    terminal.placed(migrated_sqlite, tmp_path)
    return terminal.at(tmp_path, monkeypatch, capsys)


def test_a_feed_is_added_with_its_articles_and_then_known(run: Run) -> None:
    added = run("feeds", "add", SAMPLE)
    assert (added.code, added.err) == (0, "")
    assert "Mia's Feed (5 new" in added.out

    fetched = run("feeds", "fetch", "--json")

    assert fetched.code == 0
    counted = {"feeds": 1, "new": 0, "updated": 0, "known": 5, "quarantined": 0, "failed": 0}
    assert counted.items() <= fetched.json.items()


def test_a_feed_that_is_only_noted_is_new_at_the_first_fetch(run: Run) -> None:
    run("feeds", "add", "--no-fetch", SAMPLE)

    assert run("feeds", "fetch", "--json").json["new"] == 5
    assert run("feeds", "fetch").out == "1 feed: 0 new, 0 updated, 5 known.\n"


def test_fetching_without_feeds_is_done_at_once(run: Run) -> None:
    fetched = run("feeds", "fetch", "--json")

    assert (fetched.code, fetched.json["feeds"]) == (0, 0)


def test_a_failing_feed_is_named_and_the_exit_code_says_so(
    run: Run, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_FEED_PRIVATE_NETWORKS", "true")
    web.answers["/feed"] = Answer((SAMPLES / "atom-1.0.xml").read_bytes())
    url = f"http://me:secret@127.0.0.1:{web.port}/feed"
    assert run("feeds", "add", url).code == 0
    run("feeds", "add", SAMPLE)
    web.answers.clear()

    fetched = run("feeds", "fetch", "--json")

    assert fetched.code == 1
    assert (fetched.json["failed"], fetched.json["known"]) == (1, 5)
    assert "Feed 1 (Lab & Life)" in fetched.err
    assert "does not have it" in fetched.err
    listed = run("feeds", "list", "--json")
    assert "does not have it" in listed.json["feeds"][0]["error"]
    assert "secret" not in fetched.out + fetched.err + listed.out


def test_private_addresses_are_closed_unless_the_setting_opens_them(run: Run, web: Web) -> None:
    refused = run("feeds", "add", web.url("/feed"))

    assert refused.code == 1
    assert "private network" in refused.err
    assert "feed_private_networks" in refused.err
    assert web.asked == []


def test_usage_mistakes_are_exit_code_2(run: Run) -> None:
    assert run("feeds", "add", "ftp://a.example/").code == 2
    assert run("feeds", "add", "no-such-file.xml").code == 2
    assert run("feeds", "add").code == 2
    assert run("articles", "approve").code == 2
    assert run("articles", "approve", "1", "--all").code == 2
    assert run("articles", "add", "--title", "T", "--link", "javascript:x").code == 2
    wrong = ("--published", "soon")
    assert run("articles", "add", "--title", "T", "--link", "https://a.example/", *wrong).code == 2


def test_what_is_not_there_is_exit_code_1(run: Run) -> None:
    assert run("feeds", "remove", "7").code == 1
    assert run("feeds", "remove", "https://a.example/").code == 1
    assert run("articles", "show", "7").code == 1
    assert run("articles", "approve", "7").code == 1


@pytest.mark.parametrize("name", ["1", SAMPLE])
def test_a_feed_is_removed_by_number_or_address_and_its_articles_stay(run: Run, name: str) -> None:
    run("feeds", "add", SAMPLE)

    assert "5 articles stay" in run("feeds", "remove", name).out

    assert run("feeds", "list", "--json").json == {"feeds": []}
    assert run("articles", "list", "--json").json["total"] == 5
    assert run("feeds", "add", SAMPLE, "--json").json["known"] == 5


def test_a_feed_whose_file_is_gone_can_still_be_removed_by_its_name(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "feed.xml"
    file.write_bytes((SAMPLES / "atom-1.0.xml").read_bytes())
    run("feeds", "add", "feed.xml")
    file.unlink()

    assert run("feeds", "fetch").code == 1
    assert run("feeds", "remove", "feed.xml").code == 0


def test_quarantined_articles_are_listed_and_approved(run: Run, tmp_path: Path) -> None:
    feed = {
        "items": [
            {"id": str(n), "url": f"https://a.example/{n}", "title": f"T{n}",
             "date_published": "2999-01-01"}
            for n in range(3)
        ]
    }  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(feed))
    added = run("feeds", "add", "f.json")
    assert "3 in quarantine" in added.out
    assert "--quarantined" in added.out

    waiting = run("articles", "list", "--quarantined", "--json").json
    assert [one["quarantine_reason"] for one in waiting["articles"]] == ["future"] * 3
    assert "waits: future" in run("articles", "list", "--quarantined").out

    assert "1 article is let out" in run("articles", "approve", "1").out
    assert run("articles", "approve", "--all", "--json").json == {"approved": 2, "articles": [2, 3]}
    assert run("articles", "approve", "--all").out == "Nothing waited.\n"
    assert run("articles", "list", "--quarantined").out == "No article waits.\n"


def test_an_article_is_added_by_hand_and_shown(run: Run) -> None:
    added = run(
        "articles", "add", "--title", "By hand", "--link", "https://a.example/x?utm_source=1",
        "--standfirst", "Words.", "--category", "One", "--category", "Two",
        "--published", "2026-11-22", "--image", "https://a.example/i.png", "--json",
    ).json  # fmt: skip

    shown = run("articles", "show", str(added["article"]), "--json").json

    (act,) = shown.pop("history")
    assert act["action"] == "articles.add"
    assert shown == added | {"edition": None}
    assert shown["link"] == "https://a.example/x"
    assert (shown["feed"], shown["categories"]) == (None, ["One", "Two"])
    assert shown["published_at"] == "2026-11-22T00:00:00+00:00"
    assert shown["image"]["url"] == "https://a.example/i.png"
    assert "By hand" in run("articles", "show", str(added["article"])).out
    assert run("articles", "add", "--title", "T", "--link", "https://a.example/x").code == 1


def test_a_date_without_an_offset_is_the_publications_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", "Europe/Berlin")

    added = run(
        "articles", "add", "--title", "T", "--link", "https://a.example/",
        "--published", "2026-11-22T07:30", "--json",
    )  # fmt: skip

    assert added.json["published_at"] == "2026-11-22T06:30:00+00:00"


def test_lists_say_what_to_do_when_there_is_nothing(run: Run) -> None:
    assert "feeds add" in run("feeds", "list").out
    assert run("articles", "list").out == "There is no article here.\n"


def test_a_long_list_is_paged(run: Run) -> None:
    run("feeds", "add", SAMPLE)

    page = run("articles", "list", "--limit", "2", "--offset", "1")

    assert "2 of 5; --offset 3 shows the next." in page.out
    assert len(run("articles", "list", "--limit", "2", "--json").json["articles"]) == 2


def test_a_flood_is_said_with_what_of_it_was_not_taken_in(run: Run, tmp_path: Path) -> None:
    def feed(items: int) -> str:
        body = "".join(
            f"<item><title>T {number}</title><link>https://a.example/{number}</link></item>"
            for number in range(items)
        )
        path = tmp_path / "feed.xml"
        path.write_text(f"<rss version='2.0'><channel><title>Busy</title>{body}</channel></rss>")
        return str(path)

    run("feeds", "add", feed(1))
    feed(300)

    fetched = run("feeds", "fetch")

    assert fetched.code == 0
    assert "1 feed: 0 new, 0 updated, 1 known, 200 in quarantine, 99 not taken in." in fetched.out
    assert "Busy: 99 articles are not taken in today" in fetched.err
    again = run("feeds", "fetch", "--json")
    assert (again.json["known"], again.json["left_out"]) == (201, 99)
