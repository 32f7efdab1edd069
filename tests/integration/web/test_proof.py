"""The optional proof of work for a sign-up (ALTCHA)."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import altcha
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from visitor import ANN, Make, Visitor


@pytest.fixture
def visitor(visit: Make) -> Visitor:
    return visit(altcha=True, signups_per_machine=1_000)


def given_out(visitor: Visitor) -> dict[str, Any]:
    """A form token and its challenge, old enough to be valid."""
    found: dict[str, Any] = visitor.get("/subscriptions/form").json()
    visitor.wait(seconds=5)
    return found


def solved(work: dict[str, Any]) -> str:
    """The solution that a browser finds."""
    challenge = altcha.Challenge.from_dict(work)
    solution = altcha.solve_challenge(challenge)
    assert solution is not None
    return altcha.Payload(challenge, solution).to_base64()


def ask(visitor: Visitor, form: str, work: str, path: str = "/subscriptions") -> Any:
    fields = {"address": ANN, "cadence": "weekly", "form": form, "altcha": work}
    return visitor.post(path, fields)


def test_no_proof_of_work_is_required_by_default(visit: Make) -> None:
    visitor = visit()

    assert list(visitor.get("/subscriptions/form").json()) == ["form"]
    page = visitor.get("/subscribe")
    assert "<script" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "proof" not in visitor.get("/embed.js").text


def test_a_sign_up_with_a_valid_solution_gets_a_letter(visitor: Visitor) -> None:
    given = given_out(visitor)

    assert ask(visitor, given["form"], solved(given["challenge"])).json() == {"status": "asked"}

    assert len(visitor.letters()) == 1


def test_without_a_solution_no_letter_is_sent(visitor: Visitor) -> None:
    given = given_out(visitor)

    refused = ask(visitor, given["form"], "")

    assert refused.status_code == 422
    assert refused.json()["problem"] == "once_more"
    assert ask(visitor, given["form"], "", "/subscribe").status_code == 200
    assert visitor.find() is None


def test_a_solution_is_valid_once_and_for_its_own_form(visitor: Visitor) -> None:
    first, other = given_out(visitor), given_out(visitor)
    work = solved(first["challenge"])

    assert ask(visitor, other["form"], work).status_code == 422
    assert ask(visitor, first["form"], work).status_code == 200
    assert ask(visitor, first["form"], work).status_code == 422


def test_a_mistyped_address_does_not_use_the_solution_up(visitor: Visitor) -> None:
    given = given_out(visitor)
    work = solved(given["challenge"])
    fields = {"address": "ann@", "cadence": "weekly", "form": given["form"], "altcha": work}

    assert visitor.post("/subscriptions", fields).json()["problem"] == "address"
    assert ask(visitor, given["form"], work).status_code == 200


def test_our_own_page_asks_for_the_work_and_allows_the_one_script(visitor: Visitor) -> None:
    page = visitor.get("/subscribe")
    work = re.search(r'data-newsletter-challenge="([^"]+)"', page.text)
    form = re.search(r'name="form" value="([^"]+)"', page.text)
    assert work
    assert form
    visitor.wait(seconds=5)

    asked = ask(visitor, form[1], solved(json.loads(unescape(work[1]))), "/subscribe")

    assert asked.status_code == 200
    assert len(visitor.letters()) == 1
    base = visitor.settings.base_url
    assert f"script-src {base}/proof.js;" in page.headers["content-security-policy"]
    assert f'src="{base}/proof.js"' in page.text
    # The page after it has no script.
    assert "script-src" not in asked.headers["content-security-policy"]


def test_a_rotated_key_keeps_challenges_valid(visitor: Visitor, visit: Make) -> None:
    given = given_out(visitor)
    work = solved(given["challenge"])
    newer = "another-0123456789abcdef0123456789abcdef"

    later = visit(altcha=True, secret_keys=[newer, *visitor.settings.secret_keys])
    later.now = visitor.now

    assert ask(later, given["form"], work).status_code == 200


@pytest.mark.parametrize("name", ["cost", "keyPrefix", "salt", "nonce", "algorithm", "data"])
def test_a_challenge_with_a_lower_cost_is_refused(visitor: Visitor, name: str) -> None:
    given = given_out(visitor)
    easier = {"cost": 1, "keyPrefix": "", "salt": "00", "nonce": "00", "algorithm": "SHA-256"}
    work = given["challenge"]
    work["parameters"][name] = easier.get(name, {"form": given["form"], "more": 1})

    assert ask(visitor, given["form"], solved(work)).status_code == 422


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@examples(15, many=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=json_values, solution=json_values, garbage=st.text(max_size=40))
def test_any_invalid_solution_is_refused(
    visitor: Visitor, found: object, solution: object, garbage: str
) -> None:
    visitor.wait(seconds=5)
    form = visitor.keyring.form(now=visitor.now - timedelta(seconds=5))
    work = visitor.get("/subscriptions/form").json()["challenge"]
    work["parameters"]["data"] = {"form": form}
    for claim in (
        {"challenge": found, "solution": solution},
        {"challenge": {"parameters": found, "signature": "00"}, "solution": solution},
        {"challenge": work, "solution": solution},
        {"challenge": {**work, "signature": found}, "solution": {"counter": 0, "derivedKey": ""}},
    ):
        encoded = base64.b64encode(json.dumps(claim).encode()).decode()
        assert ask(visitor, form, encoded).status_code == 422
    assert ask(visitor, form, garbage).status_code == 422
