from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from examples import examples
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)
from sqlalchemy import Engine
from visitor import ANN, Make, Visitor

from newsletter.cadences import Cadence
from newsletter.settings import Settings
from newsletter.tokens import Purpose

pytestmark = pytest.mark.mainly_on("sqlite")

KEY = "site-0123456789abcdef0123456789abcdef"
KEYS = [KEY, "other-abcdef0123456789abcdef0123456789"]
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
PATH = "/api/v1/subscriptions"


@pytest.fixture
def site(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    """A publication whose site has a key, on each database in turn."""
    return Visitor(engine, settings(timezone="Europe/Berlin", api_keys=KEYS))


def call(site: Visitor, method: str, path: str, **body: Any) -> Any:
    return site.client.request(
        method, path, headers=WITH_KEY, json=None if method == "GET" else body
    )


def test_without_a_key_in_the_settings_there_is_no_api(visit: Make) -> None:
    visitor = visit()
    for path in (PATH, f"{PATH}/{ANN}", "/api/v1/openapi.json"):
        assert visitor.get(path, headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"X-Key": KEY}],
    ids=str,
)
def test_without_the_right_key_nothing_is_disclosed(visit: Make, headers: dict[str, str]) -> None:
    visitor = visit(api_keys=KEYS)
    visitor.add()
    answer = visitor.get(f"{PATH}/{ANN}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["problem"] == "key"
    assert visitor.client.post(PATH, headers=headers, json={"address": ANN}).status_code == 401


def test_every_key_is_accepted(visit: Make) -> None:
    visitor = visit(api_keys=KEYS)
    visitor.add()
    for key in KEYS:
        answer = visitor.get(f"{PATH}/{ANN}", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200


def test_subscribing_sends_a_confirm_letter(site: Visitor) -> None:
    answer = call(
        site, "POST", PATH, address=ANN, cadence="daily", wording="Yes,\nplease", remote="::1"
    )
    assert (answer.status_code, answer.json()) == (202, {"status": "asked"})
    (asked,) = site.consents()
    assert (asked.source, asked.wording, asked.remote) == ("api", "Yes, please", "::1")
    assert len(site.letters()) == 1
    site.post(site.path("confirm"))

    read = call(site, "GET", f"{PATH}/{ANN}").json()
    assert (read["status"], read["cadence"]) == ("active", "daily")
    assert read["next_at"] == "2026-11-23T07:00:00+01:00"


@pytest.mark.parametrize(
    ("remote", "stored"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%\x00\x1b[31m", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("", None),
    ],
)
def test_a_network_address_is_stored_in_one_spelling(
    site: Visitor, remote: str, stored: str | None
) -> None:
    assert call(site, "POST", PATH, address=ANN, remote=remote).status_code == 202
    assert site.consents()[0].remote == stored


def test_the_response_is_the_same_for_a_known_address(site: Visitor) -> None:
    site.add("known@readers.example")
    known = call(site, "POST", PATH, address="known@readers.example")
    new = call(site, "POST", PATH, address="new@readers.example")
    assert (known.status_code, known.content) == (new.status_code, new.content)


def test_a_subscription_is_changed(site: Visitor) -> None:
    site.add(cadence=Cadence.DAILY)
    path = f"{PATH}/{ANN.upper()}"
    assert call(site, "PATCH", path, cadence="monthly").json()["cadence"] == "monthly"
    paused = call(site, "PATCH", path, status="paused", paused_until="2026-12-24T00:00:00+01:00")
    assert paused.json()["status"] == "paused"
    assert call(site, "PATCH", path, status="active").json()["paused_until"] is None
    assert call(site, "PATCH", path).json()["status"] == "active"
    assert call(site, "PATCH", path, status="unsubscribed").json()["next_at"] is None
    assert site.actions() == ["added", "cadence", "paused", "resumed", "unsubscribed"]
    assert {row.source for row in site.consents()[1:]} == {"api"}


def test_an_impossible_change_is_a_conflict_and_changes_nothing(site: Visitor) -> None:
    site.add()
    site.post(site.link(Purpose.UNSUBSCRIBE))
    answer = call(site, "PATCH", f"{PATH}/{ANN}", status="active")
    assert (answer.status_code, answer.json()["problem"]) == (409, "conflict")
    both = call(site, "PATCH", f"{PATH}/{ANN}", cadence="daily", status="active")
    assert both.status_code == 409
    assert site.reader().cadence == "weekly"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"address": "nobody"},
        {"address": ANN, "cadence": "hourly"},
        {"address": ANN, "remote": "home"},
        {"address": ANN, "remote": "192.0.2.7, 198.51.100.1"},
        {"address": ANN, "remote": "::1\x00"},
        {"address": ANN, "remote": "1" * 300},
        {"address": ANN, "admin": True},
        {"address": "\ud800@x.org"},
        {"address": "a@x.org\r\nBcc: b@x.org"},
        [],
        None,
    ],
    ids=ascii,
)
def test_invalid_fields_are_refused_with_a_message(visit: Make, body: object) -> None:
    import json

    visitor = visit(api_keys=KEYS)
    headers = {**WITH_KEY, "Content-Type": "application/json"}
    answer = visitor.client.post(PATH, headers=headers, content=json.dumps(body))
    assert answer.status_code == 422
    assert answer.json()["problem"] == "input"
    assert visitor.find() is None


def test_an_address_with_a_slash_can_be_read_and_changed(site: Visitor) -> None:
    odd = "a/b@readers.example"
    site.add(odd)

    assert call(site, "GET", f"{PATH}/a%2Fb@readers.example").json()["address"] == odd
    gone = call(site, "PATCH", f"{PATH}/a%2Fb@readers.example", status="unsubscribed")
    assert gone.json()["status"] == "unsubscribed"


@pytest.mark.parametrize("wording", ["می\u200cخواهم", "👩\u200d⚕️", "\u200fنعم", "co\u00adop"])
def test_wording_in_any_language_is_accepted(site: Visitor, wording: str) -> None:
    assert call(site, "POST", PATH, address=ANN, wording=wording).status_code == 202
    assert site.consents()[-1].wording == wording


def test_words_with_control_characters_are_refused(site: Visitor) -> None:
    refused = call(site, "POST", PATH, address=ANN, wording="a\0b")

    assert refused.status_code == 422
    assert site.find() is None


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"address": "' + b"a" * 20_000 + b'"}'])
def test_an_invalid_body_is_refused_with_a_message(visit: Make, body: bytes) -> None:
    visitor = visit(api_keys=KEYS)
    headers = {**WITH_KEY, "Content-Type": "application/json"}
    answer = visitor.client.post(PATH, headers=headers, content=body)
    assert answer.status_code in {400, 413, 422}
    assert answer.json()["status"] == "refused"


def test_an_unknown_reader_is_a_404(site: Visitor) -> None:
    for method in ("GET", "PATCH"):
        answer = call(site, method, f"{PATH}/{ANN}")
        assert (answer.status_code, answer.json()["problem"]) == (404, "not_found")


def test_a_pause_in_the_past_is_refused(site: Visitor) -> None:
    site.add()
    path = f"{PATH}/{ANN}"
    past = {"status": "paused", "paused_until": "2020-01-01T00:00:00Z"}
    assert call(site, "PATCH", path, **past).status_code == 422
    alone = call(site, "PATCH", path, paused_until="2030-01-01T00:00:00Z")
    assert alone.status_code == 422
    assert site.status() == "active"


@pytest.mark.repeated
def test_the_api_conforms_to_its_schema(visit: Make) -> None:
    visitor = visit(api_keys=KEYS)
    visitor.add()
    visitor.sign_up("pending@readers.example")
    description = schemathesis.openapi.from_asgi("/api/v1/openapi.json", visitor.app)
    asked = set()

    for found in description.get_all_operations():
        operation = found.ok()
        asked.add(f"{operation.method} {operation.path}")
        for mode in GenerationMode:

            @examples(20, many=60, derandomize=True, database=None)
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Case) -> None:
                answer = case.call(headers=WITH_KEY)
                # A JSON schema cannot describe valid addresses, or the size of a body.
                excluded = [positive_data_acceptance]
                if answer.status_code == 413:
                    excluded.append(negative_data_rejection)
                case.validate_response(answer, headers=WITH_KEY, excluded_checks=excluded)

            # Operations without parameters have no invalid requests.
            with suppress(Unsatisfiable):
                ask()

    assert asked == {
        f"post {PATH}",
        f"get {PATH}/{{address}}",
        f"patch {PATH}/{{address}}",
        "get /healthz",
        "get /readyz",
    }
