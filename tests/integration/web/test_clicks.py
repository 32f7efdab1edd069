"""Counted links: they lead to their article alone, and leave a count and nothing of a reader."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlmodel import SQLModel
from visitor import ANN, NOW, Make, Visitor

from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import clicks, publish, store
from newsletter.settings import Settings
from newsletter.tokens import CountedLink, Purpose

pytestmark = pytest.mark.mainly_on("sqlite")

BEN = "ben@readers.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
READER = {"User-Agent": FIREFOX}
WEEKLY = "weekly-2026-11-16"
TARGET = "https://miasfeed.example/"


@pytest.fixture
def site(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    """A publication that counts clicks, with one edition of one article for two readers."""
    visitor = Visitor(engine, settings(count_clicks=True, archive=True))
    visitor.add()
    visitor.add(BEN)
    visitor.publish()
    return visitor


@pytest.fixture
def away(settings: Callable[..., Settings]) -> Iterator[Visitor]:
    """The same without its database server."""
    engine = engines.open("postgresql://mia:sesame@127.0.0.1:1/nowhere")
    yield Visitor(engine, settings(count_clicks=True))
    engine.dispose()


def links(text: str) -> list[str]:
    """Return the paths of the counted links in a mail or a page."""
    return list(dict.fromkeys(re.findall(r"https://news\.miasfeed\.example(/read/[\w.-]+)", text)))


def body(site: Visitor, kind: str = "plain", address: str = ANN) -> str:
    part = site.letters(address)[-1].get_body((kind,))
    assert part is not None
    return str(part.get_content())


def link(site: Visitor) -> str:
    (found,) = links(body(site))
    return found


def signed(site: Visitor, article_id: int, edition: str = WEEKLY) -> str:
    url = f"{TARGET}{article_id}"
    return f"/read/{site.keyring.sign_link(CountedLink(edition, article_id, url))}"


def click(site: Visitor, path: str, **headers: str) -> int:
    answer = site.get(path, headers={**READER, **headers})
    return int(answer.status_code)


def written(site: Visitor) -> dict[tuple[str, int], int]:
    """Let all that counts be written, and return the counts that are not zero."""
    site.wait(seconds=11)
    site.client.portal.call(site.web.click_writer.write)
    query = text(
        "SELECT edition, article_id, sum(clicks) FROM click_count "
        "GROUP BY edition, article_id HAVING sum(clicks) > 0"
    )
    with site.engine.connect() as connection:
        found = connection.execute(query).all()
    return {(edition, article_id): int(clicks) for edition, article_id, clicks in found}


def test_a_link_leads_to_its_article_and_a_click_is_counted_once(site: Visitor) -> None:
    path = link(site)

    answer = site.get(path, headers=READER)

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(TARGET)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.content == b""
    assert click(site, path) == 302
    assert written(site) == {(WEEKLY, 1): 1}


def test_all_readers_get_the_same_link_in_both_parts_and_in_the_browser(site: Visitor) -> None:
    path = link(site)
    view = re.search(r"(/view/\S+)", body(site))
    assert view

    page = site.get(view[1]).text

    assert "We count how often each article is opened from this page" in page
    for shown in (body(site, "html"), body(site, address=BEN), page):
        assert links(shown) == [path]
    assert "We count how often each article is opened" in " ".join(body(site).split())


def test_archive_and_preview_lead_to_the_article_directly(site: Visitor) -> None:
    shown = publish.preview(
        site.engine, publish.Cadence.WEEKLY, now=site.now, publication=site.publication
    )

    archived = site.get(f"/editions/{WEEKLY}").text
    assert "We count" not in archived
    for page in (archived, shown.html, shown.text, shown.page):
        assert links(page) == []
        assert re.search(rf"{TARGET}\d+", page)


def test_nothing_changes_while_clicks_are_not_counted(visit: Make) -> None:
    site = visit()
    site.add()
    site.publish()

    assert links(body(site)) == links(body(site, "html")) == []
    assert "no counted links" in body(site)
    assert click(site, signed(site, 1)) == 302, "a mail from before still leads to its article"
    assert "click_writer" not in vars(site.web)
    with sessions.reading(site.engine) as session:
        assert clicks.of(session, store.by_slug(session, WEEKLY)) is None


@pytest.mark.parametrize(
    "path",
    [
        "/read/x",
        "/read/weekly-2026-11-16.1.bWlhc2ZlZWQuZXhhbXBsZS8x",
        "/read/weekly-2026-11-16.1.bWlhc2ZlZWQuZXhhbXBsZS8x.AAAAAAAAAAAAAAAAAAAAAA",
        "/read/https://evil.example/",
        "/read/%00.%0d%0aLocation:%20https://evil.example/.x",
    ],
)
def test_a_forged_link_leads_nowhere(site: Visitor, path: str) -> None:
    answer = site.get(path, headers=READER)

    assert answer.status_code == 404
    assert "location" not in answer.headers
    assert written(site) == {}


def test_an_altered_an_outdated_and_another_link_lead_nowhere(site: Visitor) -> None:
    token = link(site).rpartition("/")[2]
    payload, _, signature = token.rpartition(".")
    edition, article_id, url = payload.split(".")
    outdated = site.settings.model_copy(update={"secret_keys": ["old-" + "0123456789abcdef" * 3]})
    for forged in (
        f"daily-2026-11-16.{article_id}.{url}.{signature}",
        f"{edition}.{article_id}1.{url}.{signature}",
        f"{edition}.{article_id}.{url}A.{signature}",
        f"{payload}.{signature[:-2]}",
        outdated.keyring().sign_link(CountedLink(WEEKLY, 1, TARGET)),
        site.link(Purpose.MANAGE).rpartition("/")[2],
    ):
        answer = site.get(f"/read/{forged}", headers=READER)
        assert answer.status_code == 404, forged
        assert "location" not in answer.headers
    assert written(site) == {}


def test_a_mark_that_a_mail_program_adds_to_a_link_does_no_harm(site: Visitor) -> None:
    assert click(site, link(site) + ").") == 302
    assert written(site) == {(WEEKLY, 1): 1}


def test_a_link_of_the_greatest_length_works(site: Visitor) -> None:
    url = f"https://long.example/{'a' * 1_979}"
    token = site.keyring.sign_link(CountedLink(WEEKLY, 1, url))

    assert site.get(f"/read/{token}", headers=READER).headers["location"] == url


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
        {"User-Agent": "curl/8.5.0"},
    ],
    ids=str,
)
def test_what_nobody_has_asked_to_see_is_not_counted(
    site: Visitor, headers: dict[str, str]
) -> None:
    assert click(site, link(site), **headers) == 302
    assert written(site) == {}


def test_head_is_answered_and_not_counted(site: Visitor) -> None:
    answer = site.client.head(link(site), headers=READER)

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(TARGET)
    assert written(site) == {}


def test_a_scanners_burst_is_not_counted_and_a_reader_beside_it_is(site: Visitor) -> None:
    for article_id in range(1, 6):
        assert click(site, signed(site, article_id)) == 302
    click(site, signed(site, 2), **{"User-Agent": f"{FIREFOX} other"})

    assert written(site) == {(WEEKLY, 2): 1}


def test_visitors_are_told_apart_by_network_where_a_proxy_is_trusted(
    engine: Engine, settings: Callable[..., Settings]
) -> None:
    site = Visitor(engine, settings(count_clicks=True, trusted_proxies=["192.0.2.7"]))
    for place in ("198.51.100.1", "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"):
        click(site, signed(site, 1), **{"X-Forwarded-For": place})

    assert written(site) == {(WEEKLY, 1): 3}


def test_a_link_works_without_a_database(away: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    assert click(away, signed(away, 1)) == 302
    away.wait(seconds=11)
    away.client.portal.call(away.web.click_writer.write)

    assert "Clicks could not be counted yet: The database could not be used" in caplog.text


def test_a_click_is_written_when_the_database_is_there_again(site: Visitor, away: Visitor) -> None:
    writer, there = site.web.click_writer, site.engine
    click(site, link(site))
    site.wait(seconds=11)
    writer._engine = away.engine
    site.client.portal.call(writer.write)
    writer._engine = there

    assert written(site) == {(WEEKLY, 1): 1}


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_nothing_in_the_database_or_the_log_joins_a_click_to_a_reader(
    site: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = contents(site)
    caplog.clear()
    paths = links(body(site))

    for path in paths:
        click(site, path, Cookie="a=b", Referer="https://mail.example/ann")
    assert written(site) == {(WEEKLY, 1): 1}

    after = contents(site)
    changed = {name for name, rows in after.items() if rows != before[name]}
    assert changed == {"click_count"}
    (row,) = set(after["click_count"]) - set(before["click_count"])
    columns = ROW.fullmatch(row)
    assert columns, row
    assert [one.getMessage() for one in caplog.records if one.name.startswith("newsletter")] == []


#: All that the row of a click has: edition, article, process and count; no time.
ROW = re.compile(rf"\('{WEEKLY}', 1, [1-9]\d*, 1\)")


def contents(site: Visitor) -> dict[str, list[str]]:
    """Return the rows of every table."""
    with site.engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(text(f'SELECT * FROM "{name}"'))))
            for name in SQLModel.metadata.tables
        }


def test_two_processes_add_up_and_a_repeated_write_counts_once(site: Visitor) -> None:
    other = Visitor(site.engine, site.settings, now=NOW)
    click(site, link(site))
    click(other, link(site), **{"User-Agent": f"{FIREFOX} other"})
    assert written(site) == {(WEEKLY, 1): 1}
    assert written(other) == {(WEEKLY, 1): 2}

    writer = site.web.click_writer
    writer._changed |= writer._totals.keys()
    assert written(site) == {(WEEKLY, 1): 2}


def test_the_end_of_the_server_writes_what_is_held(site: Visitor) -> None:
    click(site, link(site))
    site.client.portal.call(site.web.click_writer.close)

    with sessions.reading(site.engine) as session:
        total = session.execute(text("SELECT sum(clicks) FROM click_count")).scalar_one()
    assert total == 1
