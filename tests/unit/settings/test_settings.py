from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hook_events
import pytest
from pydantic import ValidationError

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
        'link_parameters = "utm_source"',
        'link_parameters = "a=1&"',
        'link_parameters = "a=1#b"',
        'link_parameters = "a=\\"><b"',
        'link_parameters = "a=b c"',
        'link_parameters = "a=é"',
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


@pytest.mark.parametrize("written", ["utm_source=a.b&c=%C3%A9", "?utm_source=a.b&c=%C3%A9", ""])
def test_parameters_of_links_are_taken_with_their_question_mark(
    load: Callable[[str], Settings], written: str
) -> None:
    assert load(f'link_parameters = "{written}"').link_parameters == written.lstrip("?")


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


@pytest.mark.parametrize(
    "lines",
    [
        'smtp_url = "smtp://a.example?weight=3, smtps://mia:p%2Cw@b.example:4650"',
        'smtp_url = "smtp://a.example/?weight=3\\n  smtps://mia:p,w@b.example:4650 "',
        'smtp_url = ["smtp://a.example?weight=3", "smtps://mia:p,w@b.example:4650"]',
    ],
)
def test_several_relays_stand_in_one_string_or_in_a_list(
    load: Callable[[str], Settings], lines: str
) -> None:
    one, other = load(lines).smtp_servers()

    assert (str(one), one.weight, one.security) == ("a.example:25", 3, "starttls")
    assert (str(other), other.weight, other.password) == ("b.example:4650", 1, "p,w")


def test_several_relays_stand_in_the_environment(
    load: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://a.example,smtp://b.example?weight=100")

    assert [each.weight for each in load("").smtp_servers()] == [1, 100]


def test_one_url_is_one_server_whatever_its_password_has_in_it(
    load: Callable[[str], Settings],
) -> None:
    (server,) = load('smtp_url = "smtps://mia:a, b@mail.example"').smtp_servers()

    assert (str(server), server.password, server.weight) == ("mail.example:465", "a, b", 1)


@pytest.mark.parametrize(
    "bad",
    [
        "http://mia:sesame@b.example",
        "smtps://mia:sesame",
        "smtps://mia:sesame@b.example:99999",
        "smtps://mia:ses/ame@b.example",
        "smtps://mia:sesame@[b.example",
        "smtps://mia:sesame\u2100@b.example",
        "smtps://mia:sesame@b.example,c.example",
        "smtps://mia:sesame@b.example?weight=0",
        "smtps://mia:sesame@b.example?weight=101",
        "smtps://mia:sesame@b.example?wieght=2",
    ],
)
def test_a_bad_relay_is_named_by_its_number_and_its_password_is_not_said(
    load: Callable[[str], Settings], bad: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^smtp_url: number 2 of 3 ") as caught:
        load(f'smtp_url = ["smtp://a.example", "{bad}", "smtp://c.example"]')
    assert "ses" not in caught.value.message + (caught.value.hint or "")


@pytest.mark.parametrize(
    "name",
    [
        "templates",
        "smtp_hostname",
        "reply_to",
        "return_path",
        "site_url",
        "logo_url",
        "limit_per_second",
        "limit_per_hour",
        "limit_per_day",
        "warm_up_from",
    ],
)
def test_an_empty_value_is_none(load: Callable[[str], Settings], name: str) -> None:
    assert getattr(load(f'{name} = ""'), name) is None


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("{token}-{token}@miasfeed.example", "once"),
        ("bounces+{TOKEN}@miasfeed.example", "nothing else in braces"),
        ("bounces@{token}.example", "must be"),
        ("a-local-part-that-is-longer-{token}@miasfeed.example", "64 octets"),
        ("{token}", "must be"),
    ],
)
def test_a_return_path_has_its_token_once_in_a_local_part_that_fits(
    load: Callable[[str], Settings], form: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^return_path: .*{reason}"):
        load(f'return_path = "{form}"')
    kept = load('return_path = "Bounces <bounces+{token}@miasfeed.example>"')
    assert kept.bounce_address == "bounces+{token}@miasfeed.example"


@pytest.mark.parametrize("empty", ["[]", '""', '","'])
def test_no_relay_at_all_is_refused(load: Callable[[str], Settings], empty: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^smtp_url: must "):
        load(f"smtp_url = {empty}")


def test_what_the_environment_has_that_is_not_json_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWSLETTER_DOMAIN_LIMITS", "{bad")

    with pytest.raises(ConfigurationError, match="NEWSLETTER_DOMAIN_LIMITS") as refused:
        configuration.load()

    assert refused.value.setting == "domain_limits"


def test_what_stands_for_the_settings_in_a_traceback_has_no_secret() -> None:
    shown = repr(
        Settings(
            database_url="postgresql://u:s3cret@db.example/n",
            smtp_url="smtps://u:s3cret@mail.example",
            secret_keys=["s3cret-0123456789abcdefghijklmnopqrstuv"],
            api_keys=["s3cret-zyxwvutsrqponmlkjihgfedcba9876543210"],
            hook_secret="s3cret-0123456789abcdefghijklmnopqrstuv",
            postmark_login="s3cret:0123456789abcdef",
            mailgun_key="s3cret-0123456789abcdef",
            resend_key="whsec_" + "s3cret00" * 4,
            generic_hook_key="s3cret-0123456789abcdef",
        )
    )

    assert "s3cret" not in shown


HOOK = {"hook_secret": hook_events.SECRET}


@pytest.mark.parametrize("name", [one for one in hook_events.settings() if one != "hook_secret"])
def test_what_verifies_events_needs_a_hook(name: str) -> None:
    value = hook_events.settings()[name]
    assert getattr(Settings(**HOOK, **{name: value}), name) == value

    with pytest.raises(ValidationError, match="needs hook_secret"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hook_secret", "0123", "short or a placeholder"),
        ("hook_secret", "0123456789abcdefghijklmnopqrs/../", "as it stands in a URL"),
        ("ses_topics", ["letters"], "such as arn:aws:sns:"),
        ("ses_topics", "arn:aws:sns:eu-central-1:1:mails", "such as arn:aws:sns:"),
        ("sendgrid_key", "SG.0123456789", "begins with MFkw"),
        ("sendgrid_key", "MFkwEwYH", "begins with MFkw"),
        ("postmark_login", "mia", "must be user:password"),
        ("postmark_login", "postmark:short", "must be user:password"),
        ("postmark_login", "mia:pässword-of-some-length", "in ASCII"),
        ("mailgun_key", "0123", "at least 16 characters"),
        ("mailgun_key", "key-0123456789 abcdef", "without blanks"),
        ("resend_key", "re_0123456789abcdef0123", "whsec_ and base64"),
        ("resend_key", "whsec_short", "whsec_ and base64"),
        ("generic_hook_key", "0123", "at least 16 characters"),
    ],
)
def test_a_setting_of_a_hook_that_cannot_be_right_is_refused_without_its_value(
    load: Callable[[str], Settings], name: str, value: object, words: str
) -> None:
    written = {"hook_secret": hook_events.SECRET} | {name: value}
    lines = [f"{key} = {json.dumps(one, ensure_ascii=False)}" for key, one in written.items()]

    with pytest.raises(ConfigurationError) as raised:
        load("\n".join(lines))

    assert words in raised.value.message
    assert name in raised.value.message
    assert str(value) not in raised.value.message


def test_an_empty_setting_of_a_hook_in_the_environment_is_none(
    load: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in hook_events.environment():
        monkeypatch.setenv(name, "")

    assert load("").hook_secret is None
    assert load("").ses_topics == []


def test_postmark_needs_a_domain_that_its_metadata_can_hold() -> None:
    login = {"postmark_login": hook_events.LOGIN, **HOOK}
    fits = "a" * 38 + ".example"
    assert Settings(sender=f"news@{fits}", **login)

    with pytest.raises(ValidationError, match="at most 46 characters"):
        Settings(sender=f"news@a{fits}", **login)


def test_mails_have_the_headers_by_which_the_providers_of_the_settings_name_them() -> None:
    assert Settings().brand().event_headers == ()
    names = [name for name, _ in Settings(**hook_events.settings()).brand().event_headers]

    assert names == ["X-PM-Metadata-message-id", "X-Mailgun-Variables", "X-Message-ID"]


def test_sending_addresses_are_public_and_spelled_one_way(load: Callable[[str], Settings]) -> None:
    found = load('sending_addresses = ["192.0.2.25", "2001:DB8:0::25"]')

    assert found.sending_addresses == ["192.0.2.25", "2001:db8::25"]


@pytest.mark.parametrize(
    "text", ["mail.example.org", "192.0.2.0/24", "10.0.0.1", "::1", "fe80::1%a"]
)
def test_what_mailboxes_never_see_is_no_sending_address(
    load: Callable[[str], Settings], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^sending_addresses: "):
        load(f'sending_addresses = ["{text}"]')


def test_selectors_are_names_below_domainkey(load: Callable[[str], Settings]) -> None:
    assert load('dkim_selectors = ["Mail2026", "a._b-c"]').dkim_selectors == ["mail2026", "a._b-c"]


@pytest.mark.parametrize("text", ["", "a b", "a..b", "s=a", "a." * 60, "\u00e9", "*"])
def test_what_is_no_name_is_no_selector(load: Callable[[str], Settings], text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^dkim_selectors: "):
        load(f'dkim_selectors = ["{text}"]')


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://desk.example.org", "https://desk.example.org"),
        ("HTTPS://Desk.Example.org:443/", "https://desk.example.org"),
        ("https://desk.example.org:8443", "https://desk.example.org:8443"),
        ("http://desk.example.org:80", "http://desk.example.org"),
        ("https://[2001:DB8::7]:8443", "https://[2001:db8::7]:8443"),
    ],
)
def test_the_desks_url_is_spelled_as_browsers_spell_an_origin(
    load: Callable[[str], Settings], written: str, origin: str
) -> None:
    assert load(f'desk_url = "{written}"').desk_url == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/desk",
        "https://example.org?a=1",
        "https://example.org#a",
        "https://:443",
    ],
)
def test_the_desks_url_has_no_path(load: Callable[[str], Settings], url: str) -> None:
    with pytest.raises(ConfigurationError, match="without a path"):
        load(f'desk_url = "{url}"')


@pytest.mark.parametrize("name", ["m" * 91, "m\\u202eia"])
def test_a_trusted_name_fits_the_audit_log(load: Callable[[str], Settings], name: str) -> None:
    lines = 'desk_trusted_header = "X-User"\ndesk_trusted_peers = ["127.0.0.1"]\n'
    with pytest.raises(ConfigurationError, match="1 to 90 printable"):
        load(f'{lines}desk_trusted_names = ["{name}"]')
