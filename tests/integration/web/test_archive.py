from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from visitor import ANN, Make, Visitor

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import lifecycle, store, summaries
from newsletter.tokens import Purpose
from newsletter.web import pages

pytestmark = pytest.mark.mainly_on("sqlite")

ATOM = {"a": "http://www.w3.org/2005/Atom"}
TOKEN = re.compile(r"[A-Za-z0-9_-]{20}\.[A-Za-z0-9_-]{43}")


def view(visitor: Visitor, slug: str) -> str:
    """The path of "view in browser" in the mail of an edition."""
    with sessions.reading(visitor.engine) as session:
        (contents,) = summaries.contents(session, store.by_slug(session, slug))
    return f"/view/{visitor.keyring.issue(Purpose.VIEW, contents.public_id, 0)}"


def test_a_mail_can_be_viewed_while_the_archive_is_closed(visitor: Visitor) -> None:
    visitor.add()
    slug = visitor.publish("A <b>bold</b> headline")
    answer = visitor.get(view(visitor, slug))
    assert answer.status_code == 200
    assert "headline" in answer.text
    assert answer.headers["content-security-policy"] == pages.MAIL_POLICY
    assert answer.headers["x-robots-tag"] == "noindex"
    assert "/editions" not in answer.text
    for path in ("/editions", f"/editions/{slug}", "/editions/feed.xml"):
        assert visitor.get(path).status_code == 404


def test_a_view_link_is_in_the_welcome_letter(visitor: Visitor) -> None:
    visitor.add("bob@readers.example")
    visitor.publish()
    visitor.sign_up()
    confirmed = visitor.post(visitor.path("confirm"))
    path = visitor.path("view")
    assert path in confirmed.text
    assert visitor.get(path).status_code == 200


def test_the_archive_lists_editions_the_newest_first(visit: Make) -> None:
    visitor = visit(archive=True)
    visitor.add()
    visitor.add("bob@readers.example", Cadence.DAILY)
    assert visitor.get("/editions").status_code == 200
    slugs = []
    for number in range(3):
        slugs.append(visitor.publish(f"Headline {number}"))
        visitor.wait(days=7)
    slugs.append(visitor.publish("Daily headline", Cadence.DAILY))

    page = visitor.get("/editions")
    assert page.status_code == 200
    found = list(dict.fromkeys(re.findall(r"/editions/([a-z]+-[0-9-]+)", page.text)))
    assert found == slugs[::-1]
    for slug in slugs:
        shown = visitor.get(f"/editions/{slug}")
        assert shown.status_code == 200
        assert shown.headers["content-security-policy"] == pages.MAIL_POLICY
        assert "/editions" in shown.text


def test_no_page_of_the_archive_holds_a_token_or_an_address(visit: Make) -> None:
    visitor = visit(archive=True)
    visitor.add()
    slug = visitor.publish()
    for path in ("/editions", f"/editions/{slug}", "/editions/feed.xml", view(visitor, slug)):
        text = visitor.get(path).text
        assert not TOKEN.search(text), path
        assert ANN not in text, path


def test_the_feed_is_atom_and_leads_to_the_editions(visit: Make) -> None:
    visitor = visit(archive=True, name="Mia & <Co>")
    visitor.add()
    slug = visitor.publish("Fish & <chips> \ufffe")
    answer = visitor.get("/editions/feed.xml")
    assert answer.headers["content-type"].startswith("application/atom+xml")
    feed = ET.fromstring(answer.content)
    assert feed.findtext("a:title", namespaces=ATOM) == "Mia & <Co>"
    (entry,) = feed.findall("a:entry", ATOM)
    assert (entry.findtext("a:title", namespaces=ATOM) or "").startswith("Fish & <chips>")
    link = entry.find("a:link", ATOM)
    assert link is not None
    assert link.attrib["href"] == f"{visitor.settings.base_url}/editions/{slug}"
    assert visitor.get(f"/editions/{slug}").status_code == 200


def test_a_cancelled_edition_is_not_shown(visit: Make) -> None:
    visitor = visit(archive=True)
    visitor.add()
    slug = visitor.publish()
    lifecycle.cancel(visitor.engine, slug, reason="a mistake", now=visitor.now, actor="cli:mia")
    assert visitor.get(f"/editions/{slug}").status_code == 404
    assert slug not in visitor.get("/editions").text


@pytest.mark.parametrize(
    "slug", ["weekly-2020-01-06", "weekly-x", "hourly-2026-01-01", "%2e%2e%2fetc", "x" * 999]
)
def test_an_edition_that_is_not_there_is_not_found(visit: Make, slug: str) -> None:
    assert visit(archive=True).get(f"/editions/{slug}").status_code == 404


@pytest.mark.parametrize("page", ["0", "-1", "x", "99999999999999999999"])
def test_an_invalid_page_number_of_the_archive_is_refused(visit: Make, page: str) -> None:
    answer = visit(archive=True).get("/editions", params={"page": page})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")


def test_the_archive_is_paged(visit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from newsletter.web.routes import archive

    monkeypatch.setattr(archive, "_ON_A_PAGE", 2)
    visitor = visit(archive=True)
    visitor.add()
    for number in range(5):
        visitor.publish(f"Headline {number}")
        visitor.wait(days=7)
    seen = [
        re.findall(r"/editions/(weekly-[0-9-]+)", visitor.get(f"/editions?page={page}").text)
        for page in (1, 2, 3)
    ]
    assert [len(set(slugs)) for slugs in seen] == [2, 2, 1]
    assert "page=2" in visitor.get("/editions").text
    assert visitor.get("/editions?page=9").status_code == 200
