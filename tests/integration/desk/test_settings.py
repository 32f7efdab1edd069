"""Settings at the desk: all of them, where each comes from, and no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from operator_desk import OperatorDesk, text
from sqlalchemy import Engine

from newsletter import settings as configuration
from newsletter.settings import Settings
from newsletter.settings.spelling import Source, spelled

MakeDesk = Callable[..., OperatorDesk]


def test_every_setting_is_there_with_what_it_means(desk: OperatorDesk) -> None:
    html, page = desk.get("/settings").text, desk.read("/settings")

    for name, field in Settings.model_fields.items():
        assert f'<dt id="{name}">' in html
        assert " ".join((field.description or "").replace("`", " ").split())[:30] in page
    assert "Europe/Berlin" in page
    assert "default" in page
    assert len(html) < 60_000


def test_the_box_and_the_pages_of_readers_can_be_copied(desk_with: MakeDesk) -> None:
    closed = desk_with().sign_in().read("/settings")
    opened = desk_with(archive=True).sign_in().read("/settings")

    assert '<script src="https://news.miasfeed.example/embed.js" async></script>' in closed
    assert "https://news.miasfeed.example/subscribe" in closed
    assert "https://news.miasfeed.example/editions" not in closed
    assert "https://news.miasfeed.example/editions" in opened


@pytest.mark.leaks
def test_no_secret_is_shown_nor_how_long_it_is(desk_with: MakeDesk) -> None:
    changes = {
        "smtp_url": "smtps://mia:pass-word-of-mail@mail.example",
        "hook_secret": "q8Zr2LwX7nTb4VyK1mHd6PfS9gJc3AeU",
        "ping_url": "https://ping.example/a-secret-of-a-ping",
        "api_keys": ["W5tRq1NzB8xLd4KmV7yPc2HsJ9fGa6Ue"],
    }
    desk = desk_with(**changes).sign_in()

    html = desk.get("/settings").text

    for secret in desk.settings.secrets():
        assert secret not in html
    page = text(html)
    for name in changes:
        assert f"{name} file a secret, not shown" in page


def test_hostile_values_do_nothing(desk_with: MakeDesk) -> None:
    desk = desk_with(tagline="<script>alert(1)</script>", box_note="<img src=x>" * 20).sign_in()

    html = desk.get("/settings").text

    assert "<script>alert" not in html
    assert "<img" not in html


def test_where_a_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_engine: Engine
) -> None:
    file = tmp_path / "newsletter.toml"
    key = "Zr2LwX7nTb4VyK1mHd6PfS9gJc3AeUq8"
    file.write_text(f'name = "Of the file"\ntagline = "Both"\nsecret_keys = ["{key}"]\n')
    monkeypatch.setenv("NEWSLETTER_TAGLINE", "Of the environment")

    both, alone = configuration.load(file), configuration.load(file, environment=False)

    of_both = {one.name: (one.source, one.value) for one in spelled(both)}
    of_file = {one.name: (one.source, one.value) for one in spelled(alone)}
    assert of_both["name"] == (Source.FILE, '"Of the file"')
    assert of_both["tagline"] == (Source.ENVIRONMENT, '"Of the environment"')
    assert of_both["timezone"] == (Source.DEFAULT, '"UTC"')
    assert of_file["tagline"] == (Source.FILE, '"Both"')
    assert of_both["secret_keys"] == (Source.FILE, None)
    assert "Of the environment" in OperatorDesk(sqlite_engine, both).sign_in().read("/settings")
