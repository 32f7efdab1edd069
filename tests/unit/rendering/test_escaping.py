from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from markupsafe import Markup

from newsletter.rendering import environment

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)">'


def test_what_feeds_and_settings_say_is_escaped_wherever_it_stands(
    digests: SimpleNamespace,
) -> None:
    """The words that HTML and text share are macros; they escape in HTML alone."""
    stories = tuple(
        replace(story, title=HOSTILE, source=HOSTILE, category=HOSTILE, standfirst=HOSTILE)
        for story in digests.WEEKLY.stories
    )
    brand = replace(digests.BRAND, name=HOSTILE, why=HOSTILE, tagline=HOSTILE)

    rendered = digests.render(replace(digests.WEEKLY, stories=stories), brand)

    for html in (rendered.html, rendered.page):
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "&lt;script&gt;alert" in html
    assert "<script>alert" in rendered.text
    assert "&lt;" not in rendered.text


def test_what_is_shortened_is_shortened_as_it_is_read() -> None:
    short = environment._shortened(Markup.escape("Fish & chips & vinegar"), 10)

    assert isinstance(short, Markup)
    assert short == Markup.escape(environment._shortened("Fish & chips & vinegar", 10))
    assert short.unescape().startswith("Fish &")
