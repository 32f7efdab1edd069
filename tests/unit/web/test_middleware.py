from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from newsletter.web import middleware
from newsletter.web.middleware import CleanLinks, EvenPace


@given(spent=st.floats(0, 100), step=st.sampled_from([0.05, 0.25, 1.0]))
def test_a_response_is_sent_at_a_whole_step_and_never_before_the_first(
    spent: float, step: float
) -> None:
    left_at = spent + middleware.rest(spent, step)

    assert left_at / step == pytest.approx(round(left_at / step))
    assert left_at >= step
    assert spent <= left_at + 1e-9
    assert left_at < spent + step * 1.000001 or left_at == pytest.approx(step)


async def _answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("method", "path", "paced"),
    [
        ("POST", "/subscribe", True),
        ("POST", "/subscriptions", True),
        ("POST", "/api/v1/subscriptions", True),
        ("PATCH", "/api/v1/subscriptions/ann@x.org", False),
        ("POST", "/confirm/abc/again", True),
        ("POST", "/confirm/abc", False),
        ("GET", "/subscribe", False),
        ("POST", "/unsubscribe/abc", False),
    ],
)
def test_only_responses_to_sign_ups_are_delayed(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, paced: bool
) -> None:
    from newsletter.web import app

    slept: list[float] = []
    sent: list[Message] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    monkeypatch.setattr(middleware.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    asyncio.run(EvenPace(_answer, step_seconds=0.25, paths=app._PACED)(scope, receive, send))

    assert len(slept) == (1 if paced else 0)
    assert all(0 < seconds <= 0.25 for seconds in slept)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("added", ["/", ")", "&", "&gt;", "%3", "a.", "..", "=2", "/a"])
def test_a_path_of_any_length_is_cleaned_in_linear_time(added: str) -> None:
    """Quadratic time would be minutes here."""
    seen: list[str] = []

    async def see(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["path"])

    async def nothing(*_: Any) -> Message:
        return {"type": "http.request"}

    routes = [APIRoute("/confirm/{token}", nothing)]
    path = "/confirm/" + added * 100_000 + "\n!"
    asyncio.run(CleanLinks(see, routes)({"type": "http", "path": path}, nothing, nothing))

    assert len(seen) == 1
