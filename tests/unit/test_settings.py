from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from newsletter import settings as configuration
from newsletter.errors import ConfigurationError
from newsletter.settings import Settings


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Settings]:
    """Read settings from a file with these lines."""

    def load(text: str, encoding: str = "utf-8") -> Settings:
        file = tmp_path / "newsletter.toml"
        file.write_text(text, encoding=encoding)
        return configuration.load(file)

    return load


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://news.example.org/?page=1",
        "https://news.example.org/#top",
        "https://user:password@news.example.org",
        "https://news example.org",
        "https://news.example.org/a,b",
        "https://news.example.org/<b>",
        "https://news.example.org/{{ 7*7 }}",
        "https://bücher.example",
        "https://news.example.org:99999",
        "https://news.example.org/" + "a" * 500,
    ],
)
def test_a_base_url_that_makes_dead_links_is_refused_by_name(
    load: Callable[[str], Settings], url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url: ") as caught:
        load(f'base_url = "{url}"')
    assert caught.value.setting == "base_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://news.example.org",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://xn--bcher-kva.example/news/~mia",
    ],
)
def test_a_base_url_that_links_can_start_with_stays(
    load: Callable[[str], Settings], url: str
) -> None:
    assert load(f'base_url = "{url}/"').base_url == url


@pytest.mark.parametrize(
    "line",
    [
        'sender = ""',
        'sender = "a@example.org, b@example.org"',
        'sender = "Mia, Editor <mia@example.org>"',
        """sender = '"Mia, Inc. <x>" <mia@example.org>'""",
        'sender = "Mia \\u202egpj.exe <mia@example.org>"',
        'name = "Mia \\u202egpj.exe"',
        'logo_url = "https://x.example; script-src * /l.png"',
        'logo_url = "https://例え.jp/l.png"',
        'logo_url = "https://x.example/a b.png"',
        'name = " "',
        f'name = "{"x" * 201}"',
        'templates = "nowhere"',
        "catch_up_days = 1000000",
        "catch_up_days = 10000000000000",
        "cron_tolerance_hours = inf",
        "cron_tolerance_hours = 1e300",
        "cron_tolerance_hours = nan",
        "feed_timeout_seconds = 1e300",
        'weekly_on = "someday"',
        'smtp_hostname = "mail example.org"',
        'smtp_hostname = "mail.example.org\\r\\nMAIL"',
        'smtp_hostname = "bücher.example"',
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(
    load: Callable[[str], Settings], line: str
) -> None:
    name = line.partition(" ")[0]
    with pytest.raises(ConfigurationError, match=rf"^{name}: ") as caught:
        load(line)
    assert f"NEWSLETTER_{name.upper()}" in (caught.value.hint or "")
    assert ".." not in caught.value.message


def test_a_name_with_a_comma_stands_in_quotes(load: Callable[[str], Settings]) -> None:
    made = load("""sender = '"Mia, Editor" <mia@example.org>'""")

    assert (made.sender_name, made.sender_address) == ("Mia, Editor", "mia@example.org")


def test_a_file_with_a_byte_order_mark_is_read(load: Callable[..., Settings]) -> None:
    assert load('name = "Mia"', encoding="utf-8-sig").name == "Mia"


def test_the_environment_counts_more_than_the_file_unless_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "newsletter.toml"
    file.write_text('name = "Of the file"')
    monkeypatch.setenv("NEWSLETTER_NAME", "Of the environment")

    def named(**how: Any) -> str:
        return configuration.load(file, **how).name

    assert named() == "Of the environment"
    assert named(environment=False) == "Of the file"
