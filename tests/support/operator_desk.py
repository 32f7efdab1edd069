"""An operator at the desk: a client without scripts that is signed in, and sends forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import unescape
from typing import Any

from httpx2 import Response
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient
from visitor import NOW

from newsletter.db import session as sessions
from newsletter.desk import access, app
from newsletter.models import Audit
from newsletter.settings import Settings

BASE = "http://127.0.0.1:8026"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL)


class OperatorDesk:
    """The desk of a publication on a database, with a clock, as one browser uses it."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        name: str = "mia",
        now: datetime = NOW,
        base: str = BASE,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.name = name
        self.now = now
        self.origin = base
        self._app = app.create_app(settings, engine, clock=lambda: self.now)
        self.client = TestClient(self._app, base_url=base, follow_redirects=False)

    def link(self) -> str:
        """Return the path of a new link to sign in."""
        with sessions.writing(self.engine) as session:
            token = access.issue(session, self.name, actor="cli:test", now=self.now)
        return f"/login/{token}"

    def sign_in(self) -> OperatorDesk:
        """Sign in, and return this desk."""
        answer = self.client.post(self.link(), headers={"Origin": self.origin})
        assert answer.status_code == 303, answer.text
        return self

    def get(self, path: str, **options: Any) -> Response:
        """Open a page."""
        return self.client.get(path, **options)

    def read(self, path: str) -> str:
        """Open a page that there has to be, and return its text without markup."""
        answer = self.get(path)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return text(answer.text)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, on: str = "/audit", **more: Any
    ) -> Response:
        """Send a form as on the page `on`, whose token it has."""
        found = _CSRF.search(self.get(on).text)
        assert found is not None
        data = {"csrf": found[1], **(fields or {})}
        return self.client.post(path, data=data, headers={"Origin": self.origin}, **more)

    def do(self, path: str, fields: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Send a form that has to succeed, and return the text of the page that it leads to."""
        answer = self.post(path, fields, **options)
        assert answer.status_code == 303, (answer.status_code, text(answer.text))
        return self.read(answer.headers["Location"])

    def audited(self) -> list[tuple[str, str, str]]:
        """Return the audit rows of the desk's person: action, subject and detail."""
        with sessions.reading(self.engine) as session:
            rows = session.exec(select(Audit).order_by(Audit.id)).all()
        return [
            (row.action, row.subject, row.detail)
            for row in rows
            if row.actor == f"desk:{self.name}" and row.action != "desk.sign-in"
        ]

    def wait(self, **time: float) -> None:
        """Move the clock."""
        self.now += timedelta(**time)


def text(html: str) -> str:
    """Return the text of a page without its markup, white space normalised."""
    return " ".join(unescape(_TAGS.sub(" ", html)).split())
