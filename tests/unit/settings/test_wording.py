"""What is wrong with a setting is said in plain words, by its name in the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from newsletter import settings as configuration
from newsletter.errors import ConfigurationError
from newsletter.settings import Settings

SECRETS = ("smtp_url", "feedback_url", "database_url", "secret_keys", "api_keys")
Refusal = Callable[[str], str]


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """Return what is said of a settings file."""

    def read(text: str) -> str:
        file = tmp_path / "newsletter.toml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError) as caught:
            configuration.load(file, environment=False)
        return caught.value.message

    return read


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('daily_at = "25:99"', 'daily_at: must be a time such as 07:00, and is "25:99".'),
        ("daily_at = 7", 'daily_at: must be a time such as 07:00, and is "7".'),
        (
            'daily_at = "07:00+02:00"',
            "daily_at: must be a time without an offset: it is one of the setting timezone.",
        ),
        (
            "smtp_connections = 'many'",
            'smtp_connections: must be a whole number, and is "many".',
        ),
        ("smtp_connections = 0", "smtp_connections: must be at least 1, and is 0."),
        ("monthly_on = 32", "monthly_on: must be at most 31, and is 32."),
        ("limit_per_second = -1", "limit_per_second: must be more than 0, and is -1."),
        ('archive = "perhaps"', 'archive: must be true or false, and is "perhaps".'),
        (
            'box_cadence = "hourly"',
            "box_cadence: must be 'daily', 'weekly' or 'monthly', and is \"hourly\".",
        ),
        ('unknown_policy = "x"', "unknown_policy: must be 'resend' or 'hold', and is \"x\"."),
        ('accent = "red"', 'accent: must be a colour such as #0b6e6e, and is "red".'),
        (
            'warm_up_from = "soon"',
            "warm_up_from: must be a date such as 2026-11-23.",
        ),
        ("warm_up_from = 1764547200", "warm_up_from: must be a date such as 2026-11-23"),
        ("retry_minutes = 5", "retry_minutes: must be a list in brackets, and is 5."),
        ('retry_minutes = [1, "a"]', 'retry_minutes number 2: must be a number, and is "a".'),
        ("name = 5", "name: must be text in quotes, and is 5."),
        (
            '[domain_limits."gmail.com"]\nper_minute = 0',
            'domain_limits."gmail.com".per_minute: must be more than 0, and is 0.',
        ),
        (
            '[domain_limits."*"]\nper_hour = 1',
            'There is no setting domain_limits."*".per_hour.',
        ),
        ("domain_limits = 5", "domain_limits: must be a table in braces, and is 5."),
        ('[smtp]\nhost = "x"', "There is no setting smtp."),
        ('trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies: '10.0.0.1/8' must be an address"),
        ('base_url = "http://[::1"', "base_url: has a host or a port that cannot be one."),
        ("smtp_url = 5", "smtp_url: must be a URL in quotes, or a list of them."),
        ("database_url = 5", "database_url: must be text in quotes."),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(
    refusal: Refusal, line: str, said: str
) -> None:
    assert refusal(line).startswith(said)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**20), max_value=10**20)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["", "25:99", "x" * 300, "\x1b[2J", "http://[", "07:00Z", "2026-13-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted(Settings.model_fields)), value=VALUES)
def test_no_wrong_value_of_any_setting_is_answered_in_the_words_of_a_library(
    name: str, value: object
) -> None:
    said = _said(name, value)
    for words in ("Input should", "String should", "Value error", "pydantic", "type=", "ctx"):
        assert words not in said.replace(json.dumps(value, default=str), "")
    assert not said or name in said


@given(
    name=st.sampled_from(SECRETS),
    before=st.text(alphabet="a:/@?#%[]., \n", max_size=8),
    after=st.text(alphabet="a:/@?#%[]., \n", max_size=8),
    nested=st.sampled_from([0, 1, 2]),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_secret_is_said(name: str, before: str, after: str, nested: int) -> None:
    secret: object = f"smtps://mia:{before}sesame{after}@mail.example:99999"
    for _ in range(nested):
        secret = [secret]

    assert "sesame" not in _said(name, secret)


def _said(name: str, value: object) -> str:
    """Return what is said of one value of a setting; empty if it is valid."""
    try:
        try:
            configuration._OfFile(**{name: value})
        except configuration.ValidationError as exc:
            raise configuration._explained(exc) from exc
    except ConfigurationError as exc:
        return f"{exc.message} {exc.hint or ''}"
    return ""
