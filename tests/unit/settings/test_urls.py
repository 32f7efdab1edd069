"""A password is never another host: a URL is understood, or refused with the way to write it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigurationError
from newsletter.settings import Settings, load

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
