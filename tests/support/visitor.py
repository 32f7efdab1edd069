"""A visitor of the readers' pages: a client without scripts, a clock, and the letters sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import col, select

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import publish
from newsletter.ledger.queue import Claim
from newsletter.models import Article, Consent, Delivery, Mailing, Status, Subscriber
from newsletter.publication import Publication
from newsletter.rendering.message import CompiledMessage
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.settings import Settings
from newsletter.subscribers import signup, store
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Keyring, Purpose
from newsletter.web import app
from newsletter.web.dependencies import WebContext

#: The time of the tests: a Sunday, 10:00 in Berlin.
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ANN = "ann@readers.example"
JSON = {"Accept": "application/json"}


@dataclass
class Form:
    """A form on a page: its action, and the values of its fields."""

    action: str
    fields: dict[str, str]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert values["method"] == "post"
            self.forms.append(Form(values["action"], {}))
        is_off = values.get("type") in {"radio", "checkbox"} and "checked" not in values
        if tag == "input" and "name" in values and not is_off:
            self.forms[-1].fields[values["name"]] = values.get("value", "")


_kept = ExitStack()


@cache
def _portal() -> BlockingPortal:
    """Return an event loop for all requests; otherwise each would start a thread and a loop."""
    return _kept.enter_context(start_blocking_portal())


class Visitor:
    """The pages of one publication, requested as a browser does."""

    def __init__(self, engine: Engine, settings: Settings, *, now: datetime = NOW) -> None:
        self.engine, self.settings, self.now = engine, settings, now
        self.publication = Publication.of(settings)
        self.keyring: Keyring = settings.keyring()
        self.app = app.create_app(settings, engine, clock=lambda: self.now, step_seconds=0)
        self.client = TestClient(
            self.app,
            base_url=settings.base_url,
            follow_redirects=False,
            raise_server_exceptions=False,
            client=("192.0.2.7", 4711),
        )
        self.client.portal = _portal()

    @property
    def web(self) -> WebContext:
        """The context of the application, below its middleware."""
        found: Any = self.app
        while not isinstance(found, FastAPI):
            found = vars(found).get("_app") or found.app
        web: WebContext = found.state.web
        return web

    # Requests

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, **more)

    def post(self, path: str, data: dict[str, str] | None = None, **more: Any) -> Any:
        return self.client.post(path, data=data, **more)

    def submit(self, page: Any, action: str = "", **fields: str) -> Any:
        """Send the first form of a page whose action or fields contain the text `action`."""
        parser = _Forms()
        parser.feed(page.text)
        form = next(one for one in parser.forms if action in one.action + str(one.fields))
        return self.post(form.action, {**form.fields, **fields})

    def wait(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)

    def form(self) -> str:
        """Return a form token that is old enough."""
        return self.keyring.form(now=self.now - timedelta(seconds=5))

    def sign_up(self, address: str = ANN, cadence: str = "weekly", **more: Any) -> Any:
        fields = {"address": address, "cadence": cadence, "form": self.form(), "homepage": ""}
        return self.post("/subscribe", fields, **more)

    # The database

    def add(self, address: str = ANN, cadence: Cadence = Cadence.WEEKLY) -> Subscriber:
        """Add an active reader."""
        with sessions.writing(self.engine) as session:
            reader, _ = signup.add(
                session,
                address,
                cadence=cadence,
                origin=Origin("test"),
                now=self.now,
                keyring=self.keyring,
            )
        return reader

    def reader(self, address: str = ANN) -> Subscriber:
        found = self.find(address)
        assert found is not None
        return found

    def find(self, address: str = ANN) -> Subscriber | None:
        with sessions.reading(self.engine) as session:
            return store.find(session, address)

    def link(self, purpose: Purpose, address: str = ANN, *, generation: int | None = None) -> str:
        """Return the path of one of a reader's links."""
        reader = self.reader(address)
        folder = "preferences" if purpose is Purpose.MANAGE else purpose.value
        begins = generation or reader.generation
        token = self.keyring.issue(purpose, reader.public_id, begins, at=self.now)
        return f"/{folder}/{token}"

    def consents(self, address: str = ANN) -> list[Consent]:
        with sessions.reading(self.engine) as session:
            return store.consents(session, self.reader(address))

    def actions(self, address: str = ANN) -> list[str]:
        return [row.action for row in self.consents(address)]

    def status(self, address: str = ANN) -> Status:
        return Status(self.reader(address).status)

    def publish(self, title: str = "A headline", cadence: Cadence = Cadence.WEEKLY) -> str:
        """Add an article and freeze the due edition; return the name of the edition."""
        with sessions.writing(self.engine) as session:
            seen_at = sessions.freeze_lock(session, self.now)
            link = f"https://miasfeed.example/{seen_at.timestamp()}"
            article = Article(
                link=link,
                title=title,
                standfirst="What it says.",
                categories=["Medicine"],
                minutes=2,
                published_at=seen_at,
                seen_at=seen_at,
                content_hash=sha256(link.encode()).hexdigest(),
                created_at=seen_at,
                updated_at=seen_at,
            )
            session.add(article)
        return publish.freeze(
            self.engine, cadence, now=self.now, publication=self.publication, force=True
        ).edition

    def deliveries(self, address: str = ANN) -> list[Delivery]:
        with sessions.reading(self.engine) as session:
            chosen = select(Delivery).where(Delivery.address == address)
            return list(session.exec(chosen.order_by(col(Delivery.id))))

    # The mailbox

    def letters(self, address: str = ANN) -> list[EmailMessage]:
        """Return all letters to an address that are not cancelled, as they will arrive."""
        filler = Filler(self.keyring)
        with sessions.reading(self.engine) as session:
            rows = session.exec(
                select(Delivery, Mailing)
                .where(
                    Delivery.mailing_id == Mailing.id,
                    Delivery.address == address,
                    Delivery.state != "cancelled",
                )
                .order_by(col(Delivery.id))
            ).all()
        return [filled(filler, row, mailing) for row, mailing in rows]

    def path(self, where: str, address: str = ANN) -> str:
        """Return the path of a link in the newest letter: confirm, preferences and the like."""
        body = self.letters(address)[-1].get_body(("plain",))
        assert body is not None
        found = re.search(rf"{self.settings.base_url}(/{where}/\S+)", body.get_content())
        assert found
        return found[1]


def filled(filler: Filler, row: Delivery, mailing: Mailing) -> EmailMessage:
    """Return the mail of a delivery as its reader gets it."""
    claim = Claim(
        id=row.id or 0,
        mailing_id=row.mailing_id,
        address=row.address,
        reference=row.reference,
        generation=row.generation,
        since_at=row.since_at,
        created_at=row.created_at,
        attempts=0,
    )
    compiled = CompiledMessage.load(mailing.subject, mailing.body, mailing.fields)
    content = filler.fill(compiled, slot_values=SlotValues.of(mailing), claim=claim)
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


Make = Callable[..., Visitor]
