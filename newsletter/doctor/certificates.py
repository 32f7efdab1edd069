"""Pure checks of TLS certificates: how long one is valid, and why one was not accepted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from newsletter.doctor.findings import Finding, Level

#: Certificates should be renewed before so little time is left; short-lived ones before a third of
#: their lifetime is left.
_SOON = timedelta(days=14)
#: Values of X509_V_ERR_* in OpenSSL.
_EXPIRED, _NOT_YET, _NAME, _ADDRESS = 10, 9, 62, 64
_WITHOUT_ISSUER = frozenset({20, 21})
_SELF_SIGNED = frozenset({18, 19})


def expiry(
    certificate: Mapping[str, Any] | None, *, check: str, host: str, now: datetime
) -> Iterator[Finding]:
    """Judge how long a verified certificate, as of `getpeercert`, is still valid."""
    begins, ends = (_instant(certificate, name) for name in ("notBefore", "notAfter"))
    if ends is None:
        yield Finding(
            id=check,
            level=Level.NOT_CHECKED,
            sentence=f"The certificate of {host} does not say how long it is valid.",
            hint=f"`openssl s_client -connect {host}` shows it.",
            subject=host,
        )
        return
    soon = min(_SOON, (ends - begins) / 3) if begins else _SOON
    if ends - now < soon:
        days = max(0, (ends - now).days)
        left = "1 day" if days == 1 else f"{days} days"
        yield Finding(
            id=check,
            level=Level.ERROR,
            sentence=f"The certificate of {host} ends in {left}, on {ends:%Y-%m-%d}.",
            hint="Renew it, and look why that did not happen by itself; then reload the server.",
            subject=host,
        )


def unverified(exc: ssl.SSLCertVerificationError, *, check: str, host: str) -> Finding:
    """Return the finding for a certificate that was not accepted."""
    said = exc.verify_message or "certificate verify failed"
    return Finding(
        id=check,
        level=Level.ERROR,
        sentence=f"The certificate of {host} is not accepted: {said.rstrip('.')}.",
        hint=_way_out(exc.verify_code),
        subject=host,
    )


def _way_out(code: int) -> str:
    if code == _EXPIRED:
        return "Renew it, and look why that did not happen by itself; then reload the server."
    if code == _NOT_YET:
        return "Look at this machine's clock first; the certificate begins later."
    if code in {_NAME, _ADDRESS}:
        return "Get a certificate for that name, or use the name that it is for."
    if code in _WITHOUT_ISSUER:
        return (
            "Have the server send the whole chain (of certbot: fullchain.pem, not cert.pem). That "
            "of an authority of your own is trusted if SSL_CERT_FILE names it."
        )
    if code in _SELF_SIGNED:
        return (
            "Get one of a public authority, such as Let's Encrypt. One of an authority of your own "
            "is trusted if SSL_CERT_FILE names it."
        )
    return "Get a valid one, such as from Let's Encrypt."


def _instant(certificate: Mapping[str, Any] | None, name: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds((certificate or {})[name]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
