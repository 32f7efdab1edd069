"""Digests and corrections in a real browser: at three widths, by day and by night."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Mapping
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DIGESTS = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / "samples" / "digests.py"))
)
#: One mail for each dialect of feeds, written from right to left in Arabic.
DIALECTS = Path(__file__).parents[1] / "unit" / "editions" / "golden"
WIDTHS = (320, 600, 1200)
#: Chromium's names of the two schemes.
SCHEMES = {"dark": 0, "light": 1}

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
    # What was seen is looked at by several tests.
    pytest.mark.xdist_group("digests"),
]

#: The scheme, and what was measured of each page.
Seen = tuple[str, list[dict[str, Any]]]

MEASURE = """
const luminance = c => { const [r, g, b] = c.map(v => v / 255)
  .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b };
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const ground = element => { for (; element; element = element.parentElement) {
  const c = rgb(getComputedStyle(element).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c.slice(0, 3) } return [255, 255, 255] };
const contrast = element => { const [x, y] = [rgb(getComputedStyle(element).color).slice(0, 3),
  ground(element)].map(luminance); return (Math.max(x, y) + .05) / (Math.min(x, y) + .05) };
const measure = frame => {
  const page = frame.contentDocument;
  const texts = [...page.body.querySelectorAll('*')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.offsetWidth);
  const paper = page.querySelector('table.paper').getBoundingClientRect();
  return { name: frame.dataset.name, width: frame.contentWindow.innerWidth,
    needs: page.documentElement.scrollWidth, paper: paper.width, left: paper.left,
    worst: Math.min(...texts.map(contrast)),
    smallest: Math.min(...texts.filter(e => e.textContent.trim() !== '' && e.className !== 'bar')
      .map(e => parseFloat(getComputedStyle(e).fontSize)).filter(size => size)),
    ground: luminance(ground(page.querySelector('h1'))),
    images: [...page.images].map(i => [i.offsetWidth, i.offsetHeight]),
    align: getComputedStyle(page.querySelector('h1')).textAlign };
};
addEventListener('load', () => { document.body.textContent =
  'MEASURED' + JSON.stringify([...document.querySelectorAll('iframe')].map(measure)) + 'END' });
"""


def look(scheme: str, folder: Path, pages: Mapping[str, str]) -> list[dict[str, Any]]:
    """Open pages at every width in one page, and return what was measured."""
    frames = "".join(
        f'<iframe data-name="{name}" srcdoc="{escape(html)}" '
        f'style="border:0;width:{width}px;height:800px"></iframe>'
        for name, html in pages.items()
        for width in WIDTHS
    )
    harness = folder / "harness.html"
    harness.write_text(f"<!DOCTYPE html><body>{frames}<script>{MEASURE}</script>", "utf-8")
    assert BROWSER is not None
    found = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            "--hide-scrollbars",
            "--dump-dom",
            harness.as_uri(),
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    (measured,) = re.findall(r"MEASURED(\[.*?\])END<", found.stdout, flags=re.DOTALL)
    return list(json.loads(measured))


def page(name: str) -> str:
    """The mail as this reader gets it, with its picture from the sample instead of the web."""
    return filled(DIGESTS.render(*DIGESTS.GALLERY[name]).html)


def filled(html: str) -> str:
    """Return a mail with a reader's values in its slots."""
    for slot, value in DIGESTS.READER.items():
        html = html.replace(DIGESTS.MARKERS.of(slot), escape(value))
    return html.replace(DIGESTS.PICTURE_URL, DIGESTS.PICTURE)


@pytest.fixture(scope="module", params=list(SCHEMES))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    pages = {name: page(name) for name in DIGESTS.GALLERY}
    return request.param, look(request.param, tmp_path_factory.mktemp(request.param), pages)


def test_every_sample_was_seen_at_its_true_width(seen: Seen) -> None:
    _, pages = seen

    assert [(page["name"], page["width"]) for page in pages] == [
        (name, width) for name in DIGESTS.GALLERY for width in WIDTHS
    ]


def test_nothing_is_wider_than_the_screen_and_the_column_stands_in_the_middle(seen: Seen) -> None:
    for page in seen[1]:
        assert page["needs"] <= page["width"], page
        assert page["paper"] == min(600, page["width"]), page
        assert page["left"] == (page["width"] - page["paper"]) / 2, page


def test_every_word_is_readable_in_both_schemes(seen: Seen) -> None:
    for page in seen[1]:
        assert page["worst"] >= 4.5, page
        assert page["smallest"] >= 13, page


def test_the_page_is_light_by_day_and_dark_by_night(seen: Seen) -> None:
    scheme, pages = seen

    for page in pages:
        assert (page["ground"] < 0.05) == (scheme == "dark"), page


def test_the_picture_fills_the_column_and_keeps_its_shape(seen: Seen) -> None:
    for page in seen[1]:
        for width, height in page["images"]:
            assert width == min(536, page["width"] - (40 if page["width"] <= 480 else 64)), page
            assert abs(height - width * 630 / 1200) < 1, page


def test_arabic_begins_at_the_right(seen: Seen) -> None:
    for page in seen[1]:
        assert page["align"] == ("right" if "arabic" in page["name"] else "left"), page


def test_the_digest_of_every_dialect_fits_its_screen_and_can_be_read(tmp_path: Path) -> None:
    pages = {file.stem: filled(file.read_text("utf-8")) for file in DIALECTS.glob("*.html")}
    assert len(pages) == 12

    for page in look("light", tmp_path, pages):
        assert page["needs"] <= page["width"], page
        assert page["paper"] == min(600, page["width"]), page
        assert page["worst"] >= 4.5, page
        assert page["smallest"] >= 13, page
        assert page["align"] == ("right" if page["name"] == "blogger" else "left"), page
        assert all(width <= page["width"] for width, _ in page["images"]), page
