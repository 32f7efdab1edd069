"""A password is never another host: a URL is understood, or refused with the way to write it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigurationError
from newsletter.settings import Settings, load
from newsletter.settings.mailboxes import MailboxServer

HOST = "mail.example"


@pytest.mark.parametrize("raw", ["/", "@", "?", "#", "%", "[", "]", "%zz", "25/", "25?", "25#"])
@pytest.mark.parametrize("place", ["mia:se{}same", "mi{}a:sesame", "mia:{}", "mia:12{}x4"])
def test_a_raw_character_that_divides_a_url_is_refused_with_its_percent_form(
    raw: str, place: str
) -> None:
    url = f"smtps://{place.format(raw)}@{HOST}"

    with pytest.raises(ConfigurationError, match=r"@ as %40, / as %2F") as caught:
        loaded(smtp_url=url)

    assert caught.value.message.startswith("smtp_url: ")
    assert "same" not in caught.value.message + (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match=r"^database_url: .*@ as %40, / as %2F") as caught:
        loaded(database_url=f"postgresql://{place.format(raw)}@{HOST}/newsletter")
    assert "same" not in caught.value.message + (caught.value.hint or "")


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        ("mia:open:sesame", "mia", "open:sesame"),
        ("mia:open sesame", "mia", "open sesame"),
        ("mia:open,sesame", "mia", "open,sesame"),
        ("mia%40miasfeed.example:ses%2Fame", "mia@miasfeed.example", "ses/ame"),
        ("mia:a+b&c=d;e!", "mia", "a+b&c=d;e!"),
        ("DOMAIN\\mia:sesame", "DOMAIN\\mia", "sesame"),
        ("mia:grüße", "mia", "grüße"),
    ],
)
def test_what_can_be_read_in_one_way_is_understood(userinfo: str, user: str, password: str) -> None:
    (server,) = Settings(smtp_url=f"smtps://{userinfo}@{HOST}:4650").smtp_servers()

    assert (server.host, server.port) == (HOST, 4650)
    assert (server.username, server.password) == (user, password)


def test_a_user_that_is_an_address_is_refused_with_the_way_to_write_it() -> None:
    with pytest.raises(ConfigurationError, match="write @ as %40"):
        loaded(smtp_url=f"smtp+starttls://mia@miasfeed.example:sesame@{HOST}:587")


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mia:12/ame", "smtp://mia:25#same", "smtp://mia:25/x@y", "smtp://host/elsewhere",
        "smtp://mia:s\tame@host", "smtp://mia:%FF@host", "smtp://ho\nst", "smtp://host#",
    ],
)  # fmt: skip
def test_nothing_is_dropped_from_a_url_in_silence(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^smtp_url: "):
        loaded(smtp_url=url)


@given(
    user=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    password=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
)
def test_any_user_and_password_are_understood_in_their_percent_form(
    user: str, password: str
) -> None:
    url = f"smtps://{quote(user, safe='')}:{quote(password, safe='')}@{HOST}"

    (server,) = Settings(smtp_url=url).smtp_servers()

    assert (server.host, server.username, server.password) == (HOST, user, password)


@given(st.text(alphabet="aA0:/@?#%[]+, .-\\é", max_size=15))
def test_a_raw_password_is_never_another_host(password: str) -> None:
    try:
        servers = loaded(smtp_url=f"smtps://mia:{password}@{HOST}").smtp_servers()
    except ConfigurationError:
        return
    assert [server.host for server in servers] == [HOST]


def loaded(**values: str) -> Settings:
    """Load settings as from a file, so that what is wrong is said as an operator reads it."""
    import json
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "newsletter.toml"
        file.write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        )
        return load(file, environment=False)


@pytest.mark.parametrize(
    ("url", "port", "security", "folder"),
    [
        (f"imaps://mia:sesame@{HOST}", 993, "tls", "INBOX"),
        (f"imaps://mia:sesame@{HOST}:9930/INBOX/Bounces/", 9930, "tls", "INBOX/Bounces"),
        (f"imap://mia:sesame@{HOST}/R%C3%BCckl%C3%A4ufer 2026", 143, "starttls", "Rückläufer 2026"),
        ("imap://mia:sesame@127.0.0.1", 143, "plain", "INBOX"),
        ("imap://mia:sesame@[::1]/", 143, "plain", "INBOX"),
        (f"pop3s://mia:sesame@{HOST}/", 995, "tls", "INBOX"),
        (f"pop3://mia:sesame@{HOST}", 110, "starttls", "INBOX"),
        ("pop3://mia:sesame@localhost:1100", 1100, "plain", "INBOX"),
    ],
)
def test_the_url_of_a_mailbox_is_understood(
    url: str, port: int, security: str, folder: str
) -> None:
    found = loaded(feedback_url=url).feedback_mailbox()

    assert isinstance(found, MailboxServer)
    assert (found.port, found.security, found.folder) == (port, security, folder)
    assert (found.username, found.password) == ("mia", "sesame")
    assert "sesame" not in f"{found!r}{found}"


def test_a_mailbox_may_be_a_path() -> None:
    assert loaded(feedback_url="/var/mail/digest").feedback_mailbox() == Path("/var/mail/digest")
    assert loaded(feedback_url="~/Maildir").feedback_mailbox() == Path.home() / "Maildir"
    assert loaded(feedback_url="").feedback_mailbox() is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtps://mia:sesame@mail.example", "must be imaps://"),
        ("imaps://mia:sesame@", "must be imaps://"),
        ("imaps://mail.example/sesame", "must have a user and a password"),
        ("imaps://mia@mail.example/sesame", "must have a user and a password"),
        ("imaps://mia:sesame@mail.example:x", "has a port"),
        ("imaps://mia:ses/ame@mail.example", "write @ as %40"),
        ("imaps://mia:sesame%0D%0Ax@mail.example", "has a control character"),
        ("imaps://mia:sesame@mail.example/a?b", r"has \? or # in it"),
        ("imaps://mia:sesame@mail.example/a%FF", "no UTF-8"),
        ("pop3s://mia:sesame@mail.example/INBOX", "POP3 has none"),
        ("sesame\0", "has a control character"),
    ],
)
def test_the_url_of_a_mailbox_is_refused_with_the_way_to_write_it(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        loaded(feedback_url=url)

    assert caught.value.message.startswith("feedback_url: ")
    assert "same" not in caught.value.message + (caught.value.hint or "")
