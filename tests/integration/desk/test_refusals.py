"""Every form of the desk refuses what does not come from its own pages, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.routing import APIRoute
from operator_desk import OperatorDesk, text
from sqlalchemy import Engine, MetaData, func, select
from sqlmodel import SQLModel

from newsletter.desk import app
from newsletter.desk.pages import POLICY
from newsletter.desk.routes import signing
from newsletter.settings import Settings

MakeDesk = Callable[..., OperatorDesk]
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
ROUTES = [
    route
    for router in [*app._ROUTERS, signing.router]
    for route in router.routes
    if isinstance(route, APIRoute)
]


def filled(path: str) -> str:
    """Return a path of a route with values that could be real."""
    return _PARAMETER.sub(lambda found: "weekly" if found[1] == "cadence" else "1", path)


CHANGING = sorted({filled(one.path) for one in ROUTES if "POST" in (one.methods or ())})
READING = sorted({filled(one.path) for one in ROUTES if "GET" in (one.methods or ())})
#: Whoever has the link may use it: it proves itself, and needs only the origin.
FORMS = [path for path in CHANGING if not path.startswith("/login/")]
ONLY_FORMS = sorted(set(FORMS) - set(READING))


@pytest.fixture
def operator(sqlite_engine: Engine, settings: Callable[..., Settings]) -> OperatorDesk:
    return OperatorDesk(sqlite_engine, settings()).sign_in()


def counted(engine: Engine) -> dict[str, int]:
    tables: MetaData = SQLModel.metadata
    with engine.connect() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.tables.items()
        }


def test_routes_change_only_by_post() -> None:
    assert {name for one in ROUTES for name in one.methods or ()} <= {"GET", "POST"}
    assert len(CHANGING) >= 4


@pytest.mark.parametrize("path", CHANGING)
@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://127.0.0.1:8027",
        "https://127.0.0.1:8026",
        "http://127.0.0.1:8026.evil.example",
        "HTTP://127.0.0.1:8026",
    ],
)
def test_another_origin_changes_nothing(
    operator: OperatorDesk, path: str, origin: str | None
) -> None:
    token = re.search(r'name="csrf" value="(\w+)"', operator.get("/audit").text)
    assert token is not None
    before = counted(operator.engine)

    headers = {"Origin": origin} if origin else {}
    answer = operator.client.post(path, data={"csrf": token[1]}, headers=headers)

    assert answer.status_code == 403
    assert counted(operator.engine) == before


@pytest.mark.parametrize("path", FORMS)
def test_nothing_changes_without_a_session_of_ones_own(operator: OperatorDesk, path: str) -> None:
    other = OperatorDesk(operator.engine, operator.settings, name="tom").sign_in()
    foreign = re.search(r'name="csrf" value="(\w+)"', other.get("/audit").text)
    own = re.search(r'name="csrf" value="(\w+)"', operator.get("/audit").text)
    assert foreign is not None
    assert own is not None
    before = counted(operator.engine)
    headers = {"Origin": operator.origin}

    for data in ({}, {"csrf": ""}, {"csrf": foreign[1]}, {"csrf": "ü"}, {"csrf": own[1][:-1]}):
        assert operator.client.post(path, data=data, headers=headers).status_code == 403, data
    given = {"csrf": ("csrf.txt", own[1].encode())}
    assert operator.client.post(path, files=given, headers=headers).status_code == 403
    in_url = operator.client.post(f"{path}?csrf={own[1]}", headers=headers)
    assert in_url.status_code == 403
    operator.client.cookies.clear()
    signed_out = operator.client.post(path, data={"csrf": own[1]}, headers=headers)
    assert signed_out.status_code == 403
    assert text(signed_out.text) == "You are not signed in."
    assert counted(operator.engine) == before


@pytest.mark.parametrize("path", ONLY_FORMS)
def test_a_form_cannot_be_sent_by_get(operator: OperatorDesk, path: str) -> None:
    before = counted(operator.engine)

    assert operator.get(path).status_code in {404, 405, 422}
    assert counted(operator.engine) == before


@pytest.mark.parametrize("path", READING)
def test_pages_need_a_session_change_nothing_and_run_nothing(
    operator: OperatorDesk, path: str
) -> None:
    before = counted(operator.engine)
    answer = operator.get(path)
    assert answer.status_code in {200, 404, 409, 422}, text(answer.text)
    assert counted(operator.engine) == before
    policy = answer.headers["Content-Security-Policy"]
    assert (
        "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")
        or "sandbox" in policy
    )
    if policy == POLICY:
        assert not re.search(
            r"<(script|style)(?![^>]*src=)[^>]*>|\son\w+=|\sstyle=|javascript:", answer.text
        )
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"

    operator.client.cookies.clear()
    answer = operator.get(path)
    is_open = path.startswith(("/login/", "/sign-in"))
    assert is_open or answer.headers["Location"] == "/sign-in"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8026", 200),
        ("localhost:1234", 200),
        ("[::1]:8026", 200),
        ("desk.miasfeed.example", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.0.2.7:8026", 421),
        ("", 421),
        ("localhost:8026, evil.example", 421),
    ],
)
def test_other_names_of_this_machine_are_refused(
    operator: OperatorDesk, host: str, status: int
) -> None:
    """A site whose name leads here cannot read anything (DNS rebinding)."""
    assert operator.get("/audit", headers={"Host": host}).status_code == status
    assert operator.get("/sign-in", headers={"Host": host}).status_code == status


def test_monitoring_is_for_network_addresses_and_for_the_signed_in(desk_with: MakeDesk) -> None:
    url = "https://desk.miasfeed.example"
    desk = desk_with(desk_url=url, base=url)
    for host in ("127.0.0.1:8026", "192.0.2.7:8026", "[2001:db8::7]:8026", "10.0.0.5"):
        assert desk.get("/metrics", headers={"Host": host}).status_code == 200
        assert desk.get("/healthz", headers={"Host": host}).status_code == 200
    assert desk.get("/metrics", headers={"Host": "evil.example"}).status_code == 421
    assert desk.get("/metrics").headers["Location"] == "/sign-in"
    assert desk.sign_in().get("/metrics").status_code == 200


def test_a_body_has_a_limit(operator: OperatorDesk) -> None:
    headers = {"Origin": operator.origin}
    answer = operator.client.post("/sign-out", data={"csrf": "x" * 600_000}, headers=headers)
    assert answer.status_code == 413


def test_words_of_another_session_are_not_shown(operator: OperatorDesk) -> None:
    """Only the session's own forms can put a sentence onto the next page."""
    other = OperatorDesk(operator.engine, operator.settings, name="tom").sign_in()
    said = other.post("/delivery/retry").cookies["newsletter-desk-said"]
    assert "sent again" in other.read("/delivery")

    operator.client.cookies.set("newsletter-desk-said", said)
    assert "sent again" not in operator.read("/delivery")
    operator.client.cookies.set("newsletter-desk-said", "<b>forged</b>")
    assert "forged" not in operator.read("/delivery")


@pytest.mark.parametrize("name", ["csrf", "reason"])
@pytest.mark.parametrize(("text", "charset"), [("a\x00b", "utf-8"), ("\\ud800", "unicode_escape")])
def test_characters_that_no_text_has_are_refused(
    operator: OperatorDesk, name: str, text: str, charset: str
) -> None:
    """PostgreSQL stores neither NUL nor half of a surrogate pair."""
    found = re.search(r'name="csrf" value="(\w+)"', operator.get("/audit").text)
    assert found is not None
    fields = {"csrf": found[1], "address": "ada@x.example", "cause": "operator", name: text}
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    headers = {"Origin": operator.origin, "Content-Type": kind}
    before = counted(operator.engine)

    answer = operator.client.post(
        "/suppressions/add", content="".join([*parts, "--x--\r\n"]), headers=headers
    )

    assert answer.status_code == (403 if name == "csrf" else 422)
    assert counted(operator.engine) == before


def test_a_long_sentence_fits_the_cookie(operator: OperatorDesk) -> None:
    title = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    added = operator.post("/articles/add", {"title": title, "link": "https://x.example/a"})
    number = added.headers["Location"].rpartition("/")[2]

    answer = operator.post("/articles/pin", {"article": number})

    assert len(answer.headers["Set-Cookie"]) < 4_000
    assert "It leads the next" in operator.read(answer.headers["Location"])
