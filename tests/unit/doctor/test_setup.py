"""Settings that may send mail to readers, and those that may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from newsletter.doctor import setup
from newsletter.errors import ConfigurationError
from newsletter.settings import Settings

Make = Callable[..., Settings]


def ids(settings: Settings) -> list[str]:
    return [finding.id for finding in setup.incomplete(settings)]


def test_what_init_writes_lacks_three_settings_and_each_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        setup.require(Settings())

    assert ids(Settings()) == ["setup.sender", "setup.base_url", "setup.postal_address"]
    for word in ("sender is newsletter@localhost", "base_url is http://localhost", "postal_addr"):
        assert word in caught.value.message
    assert "--force" in (caught.value.hint or "")


def test_complete_settings_have_no_finding(settings: Make) -> None:
    setup.require(settings(return_path="bounces@miasfeed.example", reply_to="mia@miasfeed.example"))


@pytest.mark.parametrize("relay", ["smtp://localhost:25", "smtps://u:p@smtp.provider.example"])
def test_no_relay_makes_up_for_what_is_missing(relay: str) -> None:
    assert "setup.sender" in ids(Settings(smtp_url=relay))


@pytest.mark.parametrize("name", ["sender", "reply_to", "return_path"])
@pytest.mark.parametrize(
    "mailbox",
    [
        "mia@localhost", "Mia <mia@LocalHost>", "mia@mail.localhost", "mia@localhost.localdomain",
    ],
)  # fmt: skip
def test_a_mailbox_of_this_machine_is_found_by_every_spelling(
    settings: Make, name: str, mailbox: str
) -> None:
    assert ids(settings(**{name: mailbox})) == [f"setup.{name}"]


@pytest.mark.parametrize("name", ["base_url", "site_url", "logo_url"])
@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8000", "LOCALHOST", "localhost.", "news.localhost", "127.0.0.1",
        "127.8.9.10:80", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "0", "[::1]", "[::1]:8000",
        "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "localhost.localdomain",
        "ip6-localhost", "localhost6", "localhost4",
    ],
)  # fmt: skip
def test_a_link_to_the_readers_own_machine_is_found_by_every_spelling(
    settings: Make, name: str, host: str
) -> None:
    assert ids(settings(**{name: f"http://{host}"})) == [f"setup.{name}"]


@pytest.mark.parametrize(
    "host", ["localhost.example.org", "notlocalhost", "128.0.0.1", "[2001:db8::1]", "10.0.0.1"]
)
def test_other_hosts_are_not_taken_for_this_machine(settings: Make, host: str) -> None:
    assert ids(settings(base_url=f"https://{host}")) == []


@pytest.mark.parametrize("address", ["", "  ", "\t\n", ".", "-", "\u200b", "\u3000"])
def test_a_postal_address_without_a_letter_is_none(settings: Make, address: str) -> None:
    assert ids(settings(postal_address=address)) == ["setup.postal_address"]
