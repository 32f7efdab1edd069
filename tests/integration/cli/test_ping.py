"""A monitor is told of every run of the calendar, and no run waits for it or fails with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import monitor
import pytest
from monitor import Monitor, Pinged
from terminal import Run

from newsletter.cli import output, ping
from newsletter.editions import send as sending
from newsletter.errors import TransportUnavailable


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    monkeypatch.setattr(ping, "_PAUSE_SECONDS", 0)
    with monitor.monitoring() as found:
        monkeypatch.setenv("NEWSLETTER_PING_URL", found.url)
        yield found


def fail(monkeypatch: pytest.MonkeyPatch, message: str = "The mail server is away.") -> None:
    def away(*_: Any, **__: Any) -> None:
        raise TransportUnavailable(message)

    monkeypatch.setattr(sending, "resume", away)


def test_a_run_is_reported_at_its_start_and_at_its_end(run: Run, watching: Monitor) -> None:
    ran = run("cron")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert watching.pings == [Pinged("POST", "/6ee1/start", ""), Pinged("POST", "/6ee1/0", "")]


def test_a_run_that_fails_is_reported_with_its_exit_status_and_what_it_says(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch)

    assert run("cron").code == 75
    assert watching.paths == ["/start", "/75"]
    assert watching.pings[1].body == "The mail server is away."


def test_what_a_run_warns_of_is_in_the_report(run: Run, watching: Monitor, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_text("<rss version='2.0'><channel><title>F</title></channel></rss>")
    assert run("feeds", "add", str(feed)).code == 0
    feed.unlink()

    ran = run("cron")

    assert (ran.code, watching.paths) == (1, ["/start", "/1"])
    assert ran.err.strip() == watching.pings[1].body


def test_settings_that_keep_mail_from_leaving_are_reported(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("subscribers", "add", "ann@example.org", "--cadence", "daily")
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")

    assert run("cron").code == 2
    assert watching.paths == ["/start", "/2"]
    assert "postal_address is empty" in watching.pings[1].body


def test_a_rehearsal_is_no_run(run: Run, watching: Monitor) -> None:
    assert run("cron", "--dry-run").code == 0
    assert watching.pings == []


def test_addresses_of_readers_are_masked_in_a_report(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "550 <ann.smith@example.org>: no such user (jörg@bücher.example)")

    run("cron")

    body = watching.pings[1].body
    assert body == "550 <a…@example.org>: no such user (j…@bücher.example)"


@pytest.mark.parametrize("status", [500, 301, 302, 307, 404])
def test_a_monitor_that_refuses_is_said_once_and_changes_nothing(
    run: Run, watching: Monitor, status: int
) -> None:
    watching.status = status

    ran = run("cron")

    assert (ran.code, ran.out) == (0, "")
    assert ran.err.count("\n") == 1
    assert f"The monitor at 127.0.0.1 was not reached: it answers {status}" in ran.err
    # Once more each, and no redirect is followed.
    assert watching.paths == ["/start", "/start", "/0", "/0"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "gopher://mia:sesame@127.0.0.1:1"),
        ("ALL_PROXY", "gopher://mia:sesame@127.0.0.1:1"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
    ],
)
def test_an_environment_that_keeps_the_monitor_from_being_reached_is_said_once(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    ran = run("cron")

    assert (ran.code, ran.out) == (0, "")
    assert ran.err.count("\n") == 1
    assert "was not reached: the environment names a proxy, or certificates" in ran.err
    assert "sesame" not in ran.err
    assert watching.pings == []


def test_a_monitor_that_fails_once_is_asked_once_more(run: Run, watching: Monitor) -> None:
    watching.first = [503]

    ran = run("cron")

    assert (ran.code, ran.err) == (0, "")
    assert watching.paths == ["/start", "/start", "/0"]


def test_a_monitor_that_is_down_is_said_once(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("NEWSLETTER_PING_URL", f"http://127.0.0.1:{port}/secret-of-the-monitor")

    ran = run("cron")

    assert ran.code == 0
    assert ran.err.startswith("The monitor at 127.0.0.1 was not reached: ")
    assert ran.err.count("\n") == 1
    assert "secret-of-the-monitor" not in ran.err


def test_a_monitor_that_does_not_answer_is_not_waited_for(
    run: Run, watching: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "_PATIENCE_SECONDS", 0.1)
    watching.stalled.clear()

    ran = run("cron")

    assert ran.code == 0
    assert ran.err.startswith("The monitor at 127.0.0.1 was not reached: no answer in time.")
    assert ran.err.count("\n") == 1


def test_runs_of_a_worker_that_go_as_the_one_before_are_reported_once_a_minute(
    watching: Monitor,
) -> None:
    pings = ping.Pings(watching.url, warn=output.warn)
    for status in (0, 0, 1, 1, 0):
        with pings.run(by_this_thread=True) as one:
            one.status = status
    pings.close()

    assert watching.paths == ["/start", "/0", "/1", "/0"]


def test_a_query_stays_behind_the_path() -> None:
    assert ping.place("https://hc.example/key/slug?create=1", "start") == (
        "https://hc.example/key/slug/start?create=1"
    )


def test_a_report_is_bounded_and_keeps_its_end() -> None:
    octets = ping.body(["ä" * 1_000] * 50 + ["The end."])

    assert len(octets) <= ping.LONGEST
    assert octets.startswith(b"...")
    assert octets.decode().endswith("ä\nThe end.")


@pytest.mark.parametrize("url", ["ftp://hc.example/1", "hc.example", "https://hc.example/1#2"])
def test_what_is_no_url_of_a_monitor_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("NEWSLETTER_PING_URL", url)

    ran = run("cron")

    assert ran.code == 2
    assert "ping_url" in ran.err
