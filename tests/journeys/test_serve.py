"""The pages as an operator serves them: letters leave at once, and a stop ends nothing half-way."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import journey
import ledgers
import pytest
import scripted_smtp
from aiosmtpd.smtp import SMTP, Envelope, Session
from commands import Running
from journey import Mailbox, Newsletter, free_port, path, until
from scripted_smtp import STALL, ScriptedServer
from sqlalchemy import Engine, text

from newsletter.cli import catcher
from newsletter.cli.catcher import ClosingController

pytestmark = pytest.mark.mainly_on("sqlite")

ANN = "ann@readers.example"


@contextmanager
def visited(newsletter: Newsletter, smtp_port: int) -> Iterator[tuple[httpx2.Client, Running]]:
    """Run `newsletter serve` before that mail server, and give a browser."""
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    with (
        journey.serving(newsletter) as (site, running),
        httpx2.Client(base_url=site, timeout=30) as browser,
    ):
        yield browser, running


def sign_up(browser: httpx2.Client, address: str = ANN) -> None:
    form = browser.get("/subscriptions/form").json()["form"]
    # No person is faster, and no form that comes faster is taken.
    time.sleep(3)
    fields = {"address": address, "cadence": "weekly", "form": form}
    assert browser.post("/subscribe", data=fields).status_code == 200


def test_a_reader_comes_by_the_page_gets_a_digest_and_leaves_by_one_click(
    newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    smtp_port, mailbox = caught
    with visited(newsletter, smtp_port) as (browser, _):
        sign_up(browser)
        until(lambda: len(mailbox.to("ann")) == 1)
        assert browser.post(path(mailbox.to("ann")[0], "confirm")).status_code == 200
        until(lambda: len(mailbox.to("ann")) == 2)
        assert newsletter.json("subscribers", "show", ANN)["status"] == "active"

        newsletter.run("feeds", "add", write_feed("alpha"))
        newsletter.run("send", "weekly", "--force")
        until(lambda: len(mailbox.to("ann")) == 3)
        digest = mailbox.to("ann")[2]
        assert browser.get(path(digest, "view")).status_code == 200
        link = re.search(r"<http://[^/]+(/unsubscribe/[^>]+)>", digest["List-Unsubscribe"])
        assert link
        answer = browser.post(link[1], content=b"List-Unsubscribe=One-Click")
        assert answer.status_code == 200
        assert newsletter.json("subscribers", "show", ANN)["status"] == "unsubscribed"


def is_in_flight(engine: Engine) -> bool:
    return "in_flight" in ledgers.states(engine)


class _Slow(catcher.Catcher):
    """A mailbox that takes its time, and says when it has begun."""

    begun = threading.Event()

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.begun.set()
        await asyncio.sleep(2)
        return await super().handle_DATA(server, session, envelope)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[int, _Slow]]:
    folder = tmp_path / "slow"
    folder.mkdir()
    handler = _Slow(folder, port=free_port())
    controller = ClosingController(handler, hostname="127.0.0.1", port=handler.port)
    controller.start()
    yield handler.port, handler
    controller.stop()


def test_a_stop_finishes_the_letter_that_is_in_flight(
    sqlite_newsletter: Newsletter, sqlite_engine: Engine, slow: tuple[int, _Slow]
) -> None:
    smtp_port, handler = slow
    with visited(sqlite_newsletter, smtp_port) as (browser, running):
        sign_up(browser)
        assert handler.begun.wait(60)
        running.send_signal(signal.SIGTERM)

    assert len(handler.mails) == 1
    with sqlite_engine.connect() as connection:
        states = connection.execute(text("SELECT state FROM delivery")).scalars().all()
        workers = connection.execute(text("SELECT count(*) FROM worker")).scalar_one()
    assert (states, workers) == (["accepted"], 0)


def test_a_second_interrupt_waits_for_no_answer_and_leaves_nothing_in_flight(
    sqlite_newsletter: Newsletter, sqlite_engine: Engine
) -> None:
    server = ScriptedServer(lambda turn: STALL if turn.phase == "body" else None)
    with (
        scripted_smtp.running(server),
        visited(sqlite_newsletter, server.port) as (browser, running),
    ):
        sign_up(browser)
        until(lambda: is_in_flight(sqlite_engine))
        running.send_signal(signal.SIGINT)
        # The web server has ended when the worker hears it.
        assert running.stderr
        assert any("Told to stop" in line for line in running.stderr)
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)

    with sqlite_engine.connect() as connection:
        outcomes = connection.execute(text("SELECT outcome FROM attempt")).scalars().all()
        workers = connection.execute(text("SELECT count(*) FROM worker")).scalar_one()
    assert (outcomes, workers) == (["unknown"], 0)
    assert not is_in_flight(sqlite_engine)


def test_a_mail_server_that_is_away_does_not_close_the_pages(
    sqlite_newsletter: Newsletter, sqlite_engine: Engine
) -> None:
    with visited(sqlite_newsletter, free_port()) as (browser, _):
        sign_up(browser)
        assert browser.get("/healthz").status_code == 200

    with sqlite_engine.connect() as connection:
        states = connection.execute(text("SELECT state FROM delivery")).scalars().all()
    assert states == ["queued"]


def test_a_port_that_is_taken_is_said_and_ends_it(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox]
) -> None:
    smtp_port, _ = caught
    sqlite_newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    running = sqlite_newsletter.start("serve", "--port", str(smtp_port))
    out, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert f"Port {smtp_port} of 127.0.0.1 is taken" in err
    assert "Serving" not in out

    taken = ("--port", "0", "--desk", "--desk-port", str(smtp_port))
    running = sqlite_newsletter.start("serve", *taken)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "choose another port with --desk-port" in err
    assert "Serving" not in out


@contextmanager
def few_files(most: int) -> Iterator[None]:
    """Let what is started meanwhile open no more files than that."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_300_slow_connections_do_not_cut_off_a_reader_and_are_named_on_standard_error(
    sqlite_newsletter: Newsletter,
) -> None:
    port = free_port()
    with few_files(256):
        running = sqlite_newsletter.start("serve", "--port", port, "--no-letters")
    with ExitStack() as stack:
        stack.callback(running.kill)
        journey.wait_for(port)
        for number in range(300):
            source = (f"127.0.1.{1 + number % 5}", 0)
            slow = socket.create_connection(("127.0.0.1", port), 30, source_address=source)
            stack.enter_context(slow).sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ")
        answer = httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=30)
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=60)

    assert answer.json() == {"status": "ok"}
    assert "more than 128 in all." in err
    assert "Traceback" not in err
    assert running.returncode == 0


def test_a_proxy_that_no_setting_names_is_said_once_with_the_line_to_write(
    sqlite_newsletter: Newsletter,
) -> None:
    with journey.serving(sqlite_newsletter) as (site, running):
        for client in ("192.0.2.7", "192.0.2.8"):
            httpx2.get(f"{site}/subscribe", headers={"X-Forwarded-For": client}, timeout=30)
        running.send_signal(signal.SIGTERM)
        assert running.stderr
        said = running.stderr.read()

    assert said.count("trusted_proxies") == 2
    assert "127.0.0.1 sends X-Forwarded-For and is not in trusted_proxies" in said
    assert 'write trusted_proxies = ["127.0.0.1"]' in said

    sqlite_newsletter.env["NEWSLETTER_TRUSTED_PROXIES"] = "127.0.0.1"
    with journey.serving(sqlite_newsletter) as (site, running):
        httpx2.get(f"{site}/subscribe", headers={"X-Forwarded-For": "192.0.2.7"}, timeout=30)
        running.send_signal(signal.SIGTERM)
        assert running.stderr
        assert "trusted_proxies" not in running.stderr.read()
