"""Who may in: links that work once, sessions, and the header of a trusted proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from operator_desk import OperatorDesk, text
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from newsletter.db import session as sessions
from newsletter.desk import access, app
from newsletter.errors import ConfigurationError, InvalidInput, InvalidToken, NotFound
from newsletter.models import Audit, DeskLogin, DeskSession
from newsletter.settings import Settings

MakeDesk = Callable[..., OperatorDesk]
URL = "https://desk.miasfeed.example"
TRUST = {
    "desk_url": URL,
    "desk_trusted_header": "X-Remote-User",
    "desk_trusted_peers": ["192.0.2.0/24"],
    "desk_trusted_names": ["mia", "tom"],
}


def test_a_link_signs_in_once(desk: OperatorDesk) -> None:
    link = desk.link()
    fresh = OperatorDesk(desk.engine, desk.settings)

    assert fresh.get("/").headers["Location"] == "/sign-in"
    assert "signed in as mia" in fresh.read(link)
    # Opened twice, as by a scanner, it still works; by HEAD, too.
    assert fresh.client.head(link).status_code == 200
    assert "signed in as mia" in fresh.read(link)
    answer = fresh.client.post(link, headers={"Origin": fresh.origin})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Today" in fresh.read("/")

    again = OperatorDesk(desk.engine, desk.settings)
    for ask in (again.get(link), again.client.post(link, headers={"Origin": again.origin})):
        assert ask.status_code == 422
        assert "newsletter desk login" in text(ask.text)
        assert "Set-Cookie" not in ask.headers
    assert again.get("/").headers["Location"] == "/sign-in"


def test_a_link_ends_after_ten_minutes(desk: OperatorDesk) -> None:
    link = desk.link()
    desk.wait(minutes=10)

    assert desk.get(link).status_code == 422
    assert desk.client.post(link, headers={"Origin": desk.origin}).status_code == 422


def test_of_many_at_once_one_gets_in(desk: OperatorDesk) -> None:
    token = desk.link().removeprefix("/login/")
    came: list[bool] = []

    def use() -> None:
        try:
            with sessions.writing(desk.engine) as session:
                access.sign_in(session, token, now=desk.now)
        except InvalidToken:
            came.append(False)
        else:
            came.append(True)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(came) == [False] * 5 + [True]


def test_neither_links_nor_cookies_are_stored(desk: OperatorDesk) -> None:
    token = desk.link().removeprefix("/login/")
    cookie = next(iter(desk.client.cookies.values()))

    with sessions.reading(desk.engine) as session:
        links, rows = session.exec(select(DeskLogin)).all(), session.exec(select(DeskSession)).all()
        acts = session.exec(select(Audit)).all()
    stored = repr([*links, *rows, *acts])
    assert token not in stored
    assert cookie not in stored
    assert len(token) >= 43  # 256 bits in base64url


def test_signing_in_makes_a_new_session(desk: OperatorDesk) -> None:
    """A cookie that somebody else has put into the browser stays worthless (session fixation)."""
    fresh = OperatorDesk(desk.engine, desk.settings)
    name = next(iter(desk.client.cookies))
    fresh.client.cookies.set(name, "planted")
    link = fresh.link()
    answer = fresh.client.post(link, headers={"Origin": fresh.origin})

    assert "planted" not in answer.headers["Set-Cookie"]
    assert answer.headers["Set-Cookie"].startswith(name)
    stranger = OperatorDesk(desk.engine, desk.settings)
    stranger.client.cookies.set(name, "planted")
    assert stranger.get("/").headers["Location"] == "/sign-in"


def test_a_session_ends_by_signing_out_by_time_and_by_command(desk: OperatorDesk) -> None:
    cookies = dict(desk.client.cookies)
    assert desk.post("/sign-out").headers["Location"] == "/sign-in"
    desk.client.cookies.update(cookies)
    assert desk.get("/").headers["Location"] == "/sign-in"

    desk.client.cookies.clear()
    desk.sign_in()
    desk.wait(hours=11, minutes=59)
    assert desk.get("/").status_code == 200
    desk.wait(minutes=1)
    assert desk.get("/").headers["Location"] == "/sign-in"

    desk.client.cookies.clear()
    desk.sign_in()
    with sessions.writing(desk.engine) as session:
        (row,) = access.open_sessions(session, now=desk.now)
        assert row.id is not None
        access.end(session, row.id, actor="cli:mia", now=desk.now)
    assert desk.get("/").headers["Location"] == "/sign-in"
    with sessions.writing(desk.engine) as session, pytest.raises(NotFound):
        access.end(session, row.id, actor="cli:mia", now=desk.now)


@pytest.mark.parametrize("name", ["", " mia", "mia ", "m\nia", "m\x00ia", "m" * 91, "\u202emia"])
def test_a_name_can_be_shown(sqlite_engine: Engine, name: str) -> None:
    now = OperatorDesk.__init__.__kwdefaults__["now"]
    with sessions.writing(sqlite_engine) as session, pytest.raises(InvalidInput):
        access.issue(session, name, actor="cli:mia", now=now)


def test_the_cookie_is_for_this_host_and_for_no_script(desk_with: MakeDesk) -> None:
    outside = desk_with(desk_url=URL, base=URL).sign_in()
    said = outside.client.post(outside.link(), headers={"Origin": URL}).headers["Set-Cookie"]
    assert said.startswith("__Host-newsletter-desk=")
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert attribute in said
    assert "Domain" not in said

    here = desk_with()
    said = here.client.post(here.link(), headers={"Origin": here.origin}).headers["Set-Cookie"]
    assert "Secure" not in said
    assert "HttpOnly" in said
    assert "SameSite=strict" in said


@pytest.mark.parametrize(
    "others",
    ['json={"a": 1}', "words=a b", "bare", "path=/x", "list[0]=1", "umlaut=\u00fc", '"', "="],
)
def test_cookies_of_other_programs_of_this_host_do_not_matter(
    desk_with: MakeDesk, others: str
) -> None:
    """Cookies of localhost are those of every port, and of any spelling."""
    desk = desk_with().sign_in()
    name, value = next(iter(desk.client.cookies.items()))
    desk.client.cookies.clear()
    for cookies in (f"{others}; {name}={value}", f"{name}={value}; {others}"):
        assert desk.get("/audit", headers={"Cookie": cookies.encode()}).status_code == 200


def test_a_cookie_that_is_sent_twice_opens_nothing(desk_with: MakeDesk) -> None:
    desk = desk_with().sign_in()
    name, value = next(iter(desk.client.cookies.items()))
    desk.client.cookies.clear()
    for cookies in (f"{name}=planted; {name}={value}", f"{name}={value}; {name}={value}"):
        answer = desk.get("/audit", headers={"Cookie": cookies})
        assert answer.headers["Location"] == "/sign-in"


def behind(desk: OperatorDesk, *, peer: str = "192.0.2.7") -> TestClient:
    """Return a client whose requests come from a network address."""
    built = app.create_app(desk.settings, desk.engine, clock=lambda: desk.now)
    return TestClient(built, base_url=URL, follow_redirects=False, client=(peer, 4711))


def test_a_trusted_proxy_names_who_is_signed_in(desk_with: MakeDesk) -> None:
    client = behind(desk_with(base=URL, **TRUST))

    page = client.get("/audit", headers={"X-Remote-User": "tom"})

    assert page.status_code == 200
    assert "tom" in text(page.text)
    assert "Sign out" not in text(page.text)


def test_nothing_that_the_database_has_makes_a_token_of_a_form(desk_with: MakeDesk) -> None:
    """The name of the key is in the row of each mailing."""
    desk = desk_with(base=URL, **TRUST)
    page = behind(desk).get("/audit", headers={"X-Remote-User": "tom"}).text

    assert access.csrf(desk.settings.keyring().newest, "tom") not in page
    assert access.csrf(desk.settings.keyring().derive("desk csrf")[0], "tom") in page


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("198.51.100.7", [("X-Remote-User", "mia")]),
        ("192.0.2.7", [("X-Remote-User", "eve")]),
        ("192.0.2.7", [("X-Remote-User", "")]),
        ("192.0.2.7", [("X-Remote-User", "mia"), ("X-Remote-User", "mia")]),
        ("192.0.2.7", [("X-Remote-User", "mia,tom")]),
        ("192.0.2.7", [("X-Remote-User", "MIA")]),
        ("192.0.2.7", [("X_Remote_User", "mia")]),
        ("198.51.100.7", [("X-Remote-User", "mia"), ("X-Forwarded-For", "192.0.2.7")]),
        ("testclient", [("X-Remote-User", "mia")]),
    ],
)
def test_a_forged_header_opens_nothing(
    desk_with: MakeDesk, peer: str, headers: list[tuple[str, str]]
) -> None:
    client = behind(desk_with(base=URL, **TRUST), peer=peer)

    assert client.get("/audit", headers=headers).headers["Location"] == "/sign-in"  # type: ignore[arg-type]


def test_without_the_setting_no_header_opens_anything(desk_with: MakeDesk) -> None:
    client = behind(desk_with(base=URL, desk_url=URL))

    answer = client.get("/audit", headers={"X-Remote-User": "mia"})

    assert answer.headers["Location"] == "/sign-in"


@pytest.mark.parametrize(
    "left_out", ["desk_trusted_peers", "desk_trusted_names", "desk_trusted_header"]
)
def test_the_header_is_set_whole_or_not_at_all(
    settings: Callable[..., Settings], left_out: str
) -> None:
    given = {name: value for name, value in TRUST.items() if name != left_out}
    with pytest.raises((ConfigurationError, ValueError), match="go together"):
        settings(**given)
