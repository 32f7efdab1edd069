"""Requests to SNS: fetches its signing certificates, and confirms subscriptions.

`feedback.providers.ses` has checked the URLs. Redirects are not followed; size and time are
bounded.
"""

from __future__ import annotations

import asyncio

import httpx

from newsletter.feedback.providers.request import Cause, Rejected

#: Maximum octets of a response; a certificate has some two thousand.
_MAXIMUM = 65_536
_SECONDS = 10.0
#: Maximum number of certificates that are cached; each one is in use for months.
_KEPT = 16


class Sns:
    """A cache of certificates by URL, with one request at a time. Runs in one event loop."""

    def __init__(self) -> None:
        self._certificates: dict[str, bytes] = {}
        self._turn = asyncio.Lock()

    async def certificate(self, url: str) -> bytes:
        """Return the certificate (PEM) at a URL; raises Rejected if there is none."""
        if url not in self._certificates:
            async with self._turn:
                return self._certificates.get(url) or await _get(url)
        return self._certificates[url]

    def keep(self, url: str, certificate: bytes) -> None:
        """Cache a certificate that has verified a message."""
        if url not in self._certificates and len(self._certificates) >= _KEPT:
            self._certificates.clear()
        self._certificates[url] = certificate

    async def confirm(self, url: str) -> None:
        """Confirm a subscription; raises Rejected unless SNS responds with 200."""
        async with self._turn:
            await _get(url)


async def _get(url: str) -> bytes:
    # HTTPS_PROXY and SSL_CERT_FILE of the environment apply.
    client = httpx.AsyncClient(follow_redirects=False, timeout=_SECONDS)
    body = b""
    try:
        async with (
            asyncio.timeout(_SECONDS),
            client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise Rejected(Cause.UNREACHABLE)
            if answer.status_code != httpx.codes.OK:
                raise Rejected(Cause.CERTIFICATE)
            async for part in answer.aiter_raw():
                body += part
                if len(body) > _MAXIMUM:
                    raise Rejected(Cause.CERTIFICATE)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise Rejected(Cause.UNREACHABLE) from None
    return body
