"""Counted clicks in a real browser: a reader's click counts once; scanners and prefetch do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import driver
import httpx2
import pytest
from browser import Answer, Site
from journey import Mailbox, Newsletter, serving, until
from sqlalchemy import Engine, text

pytestmark = [
    pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("browser"),
]

ANN = "ann@readers.example"
#: The one of a person: without a window, Chromium names itself as a program.
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36"
)


@contextmanager
def articles(visited: list[str]) -> Iterator[Site]:
    """Serve a page for each path, and `/before/URL`, which has the browser fetch it in advance."""

    def page(_method: str, path: str, _body: str) -> Answer:
        visited.append(path)
        if path.startswith("/before/"):
            link = path.removeprefix("/before/")
            # The response may be for our own pages alone: then it ends with an error.
            said = "fetch('/fetched')"
            return Answer(f'<link rel="prefetch" href="{link}" onload="{said}" onerror="{said}">')
        return Answer(f"<title>Site</title><p>The article {path}.")

    with browser.serving(page) as site:
        yield site


def feed(folder: Path, site: str, *names: str) -> Path:
    items = "".join(
        f"<item><title>About {name}</title><link>{site}/{name}</link><guid>{name}</guid></item>"
        for name in names
    )
    file = folder / "feed.xml"
    file.write_text(f'<rss version="2.0"><channel><title>Mia</title>{items}</channel></rss>')
    return file


def clicked(engine: Engine) -> dict[str, int]:
    """Return the clicks by title, without zeros."""
    query = text(
        "SELECT title, sum(clicks) FROM click_count JOIN article ON article.id = article_id "
        "GROUP BY title HAVING sum(clicks) > 0"
    )
    with engine.connect() as connection:
        return {title: int(clicks) for title, clicks in connection.execute(query)}


def test_a_readers_click_counts_once_and_a_scanners_burst_head_and_prefetch_do_not(
    sqlite_newsletter: Newsletter,
    sqlite_engine: Engine,
    caught: tuple[int, Mailbox],
    tmp_path: Path,
) -> None:
    newsletter, (smtp_port, mailbox), visited = sqlite_newsletter, caught, list[str]()
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    newsletter.env["NEWSLETTER_COUNT_CLICKS"] = "true"
    newsletter.env["NEWSLETTER_LINK_PARAMETERS"] = "from=digest"
    newsletter.add(ann="weekly")

    with (
        articles(visited) as site,
        serving(newsletter) as (_, _running),
        driver.tab(tmp_path / "profile") as tab,
    ):
        names = ["alpha", "beta", "gamma", "delta"]
        newsletter.run("feeds", "add", feed(tmp_path, site.url, *names))
        edition = newsletter.json("send", "weekly", "--force")["edition"]
        (mail,) = mailbox.to("ann")
        part = mail.get_body(("plain",))
        assert part is not None
        links = re.findall(r"\[\d\] (http\S+/read/\S+)", part.get_content())
        assert len(links) == len(names)

        tab.call("Emulation.setUserAgentOverride", userAgent=CHROME)
        (shown,) = mailbox.folder.glob(f"*-{ANN}.html")
        for _ in range(2):
            tab.open(shown.as_uri())
            tab.press("Read the full story")
            lead = tab.see("The article /").split()[2].rstrip(".")
            assert lead.endswith("?from=digest")

        with httpx2.Client(headers={"User-Agent": f"{CHROME} Scanner"}) as scanner:
            found = [scanner.get(link).headers["location"] for link in links]
            assert sorted(found) == sorted(f"{site.url}/{name}?from=digest" for name in names)
        other = next(link for link, target in zip(links, found, strict=True) if lead not in target)
        with httpx2.Client(headers={"User-Agent": f"{CHROME} Checker"}) as checker:
            assert checker.head(other).status_code == 302
        tab.open(f"{site.url}/before/{other}")
        until(lambda: "/fetched" in visited)

    name = lead.removeprefix("/").partition("?")[0]
    assert clicked(sqlite_engine) == {f"About {name}": 1}
    found_clicks = newsletter.json("editions", "show", edition)["clicks"]
    assert {one["clicks"] for one in found_clicks} == {None}, "under five"
    assert "under five" in newsletter.run("editions", "show", edition)
