"""Checks base_url by requests: its certificate, and a one-click unsubscribe (RFC 8058)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from newsletter import clock, tokens
from newsletter.doctor import certificates, oneclick, setup
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.doctor.oneclick import Replies, Reply
from newsletter.errors import ConfigurationError
from newsletter.settings import Settings
from newsletter.tokens import Keyring, Purpose

#: Time-out for connecting, and for each response.
_SECONDS = 8.0
#: Maximum octets of a response that are read.
_ANSWER_OCTETS = 65_536
_FORM = {"List-Unsubscribe": "One-Click"}
_AGENT = {"User-Agent": "newsletter-doctor"}


def examine(settings: Settings, *, now: datetime) -> Examined:
    """Send the requests of a mail client to base_url; they change nothing there."""
    url = urlsplit(settings.base_url)
    try:
        findings = list(_tls(url, now))
    except _Unreachable as exc:
        findings = [exc.finding, _not_checked()]
    else:
        findings += _oneclick(settings)
    return Examined(checks=Checks.WEB, looked_at=("tls.web", oneclick.ID), findings=tuple(findings))


def ahead_of(url: str) -> timedelta | None:
    """Return by how much this machine's clock is ahead of a web server's Date header.

    None if the server cannot be reached. Half a second is added, as the header has whole seconds;
    and the age of a response from a cache, whose Date is that of its origin (RFC 9111 4.2.3).
    """
    with suppress(httpx.HTTPError, OSError, ValueError, TypeError, OverflowError), _client() as web:
        before = clock.utc_now()
        headers = web.head(url).headers
        after = clock.utc_now()
        said = parsedate_to_datetime(headers["date"])
        age = timedelta(seconds=int(headers.get("age", "0")) + 0.5)
        theirs = said.replace(tzinfo=said.tzinfo or UTC) + age
        return before + (after - before) / 2 - theirs
    return None


class _Unreachable(Exception):
    """A failed connection, with its finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


def _tls(url: SplitResult, now: datetime) -> Iterator[Finding]:
    """Check the certificate; raises _Unreachable if no connection can be made."""
    host = url.hostname or ""
    if url.scheme != "https":
        yield _without_tls(host)
        return
    at = f"{host}:{url.port or 443}"
    try:
        certificate = _presented(host, url.port or 443)
    except ssl.SSLCertVerificationError as exc:
        raise _Unreachable(certificates.unverified(exc, check="tls.web", host=at)) from exc
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        found = Finding(
            id="tls.web",
            level=Level.ERROR,
            sentence=f"No connection to {at} by TLS: {reason or type(exc).__name__}.",
            hint="Look at the name in base_url, its A and AAAA records, and whether the web server "
            "runs. From inside your network the public address may not be reachable: then try "
            "from another machine.",
            subject=at,
        )
        raise _Unreachable(found) from exc
    yield from certificates.expiry(certificate, check="tls.web", host=at, now=now)


def _without_tls(host: str) -> Finding:
    if setup.is_loopback(host):
        return Finding(
            id="tls.web",
            level=Level.INFO,
            sentence="base_url is on this machine and has no certificate to look at.",
            hint="Readers need one that begins with https://.",
            subject=host,
        )
    return Finding(
        id="tls.web",
        level=Level.ERROR,
        sentence="base_url begins with http://, and one-click unsubscribing needs https:// (RFC "
        "8058): mailbox providers show no button.",
        hint="Give the web server a certificate, and let base_url begin with https://.",
        subject=host,
    )


def _presented(host: str, port: int) -> dict[str, Any]:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return connection.getpeercert() or {}


def _oneclick(settings: Settings) -> list[Finding]:
    try:
        keyring = settings.keyring()
    except ConfigurationError:
        return [_not_checked("No link can be signed.", "Mend secret_keys first.")]
    start = f"{settings.base_url}/unsubscribe/"
    found = oneclick.judge(_replies(start, keyring), url=start)
    return [found] if found else []


def _replies(start: str, keyring: Keyring) -> Replies:
    nobody = tokens.new_public_id()
    good = start + keyring.issue(Purpose.UNSUBSCRIBE, nobody, 0)
    bad = start + keyring.issue(Purpose.VIEW, nobody, 0)
    with _client() as web:
        form = _reply(web, "POST", good, data=_FORM)
        if form.failure:
            return Replies(form=form, multipart=form, page=form, bad=form)
        return Replies(
            form=form,
            multipart=_reply(web, "POST", good, files={n: (None, v) for n, v in _FORM.items()}),
            page=_reply(web, "GET", good),
            bad=_reply(web, "POST", bad, data=_FORM),
        )


def _client() -> httpx.Client:
    context = ssl.create_default_context()
    return httpx.Client(
        verify=context, timeout=_SECONDS, headers=_AGENT, follow_redirects=False, trust_env=False
    )


def _reply(web: httpx.Client, method: str, url: str, **body: Any) -> Reply:  # noqa: ANN401 - httpx's forms of a body
    web.cookies.clear()
    try:
        with web.stream(method, url, **body) as answer:
            read = 0
            for piece in answer.iter_raw():
                read += len(piece)
                if read > _ANSWER_OCTETS:
                    break
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(status=answer.status_code, headers=headers)
    except httpx.TimeoutException:
        return Reply(failure=f"nothing within {_SECONDS:.0f} seconds")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
        return Reply(failure=str(exc).rstrip(".") or type(exc).__name__)


def _not_checked(
    sentence: str = "One-click unsubscribing could not be tried.",
    hint: str = "Mend the finding above first.",
) -> Finding:
    return Finding(id=oneclick.ID, level=Level.NOT_CHECKED, sentence=sentence, hint=hint)
