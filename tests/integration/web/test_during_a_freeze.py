"""What waits for a running freeze: a reader who may leave its audience, and nobody else.

A freeze first takes back a reader's open mail of an earlier edition, then queues the newer one.
Who leaves its audience in between would get neither.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interleave import interleave
from sqlalchemy import Engine, update
from sqlmodel import Session
from visitor import ANN, Visitor

from newsletter.db import session as sessions
from newsletter.models import Subscriber
from newsletter.settings import Settings
from newsletter.tokens import Purpose

KEY = "site-0123456789abcdef0123456789abcdef"
BEN = "ben@readers.example"


@pytest.fixture
def site(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    visitor = Visitor(engine, settings(api_keys=[KEY]))
    visitor.add()
    visitor.add(BEN)
    return visitor


def waits(site: Visitor, act: Callable[[], int]) -> bool:
    """Return whether `act` waits for a freeze that has not come to ANN's row yet."""

    def freeze(session: Session) -> None:
        sessions.freeze_lock(session, site.now)
        session.execute(update(Subscriber).values(cadence=Subscriber.cadence))

    answers: list[int] = []
    waited = interleave(
        site.engine, freeze, lambda: answers.append(act()), between=("freeze_lock", "subscriber")
    )
    assert answers[0] < 300
    return waited


@pytest.mark.parametrize("wanted", [{"cadence": "daily"}, {"status": "paused"}], ids=str)
def test_a_change_through_the_api_waits(site: Visitor, wanted: dict[str, str]) -> None:
    path, headers = f"/api/v1/subscriptions/{ANN}", {"Authorization": f"Bearer {KEY}"}
    assert waits(site, lambda: site.client.patch(path, headers=headers, json=wanted).status_code)


@pytest.mark.parametrize(
    "act",
    [{"action": "cadence", "cadence": "daily"}, {"action": "pause", "until": "2026-12-24"}],
    ids=str,
)
def test_a_change_on_the_preferences_page_waits(site: Visitor, act: dict[str, str]) -> None:
    link = site.link(Purpose.MANAGE)
    assert waits(site, lambda: site.post(link, act).status_code)


def test_a_sign_up_does_not_wait(site: Visitor) -> None:
    form = site.form()
    fields = {"address": ANN, "cadence": "daily", "form": form, "homepage": ""}
    assert not waits(site, lambda: site.post("/subscribe", fields).status_code)


def test_a_request_for_another_address_does_not_wait(site: Visitor) -> None:
    link = site.link(Purpose.MANAGE) + "/address"
    assert not waits(site, lambda: site.post(link, {"address": "new@x.example"}).status_code)
