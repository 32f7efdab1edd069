"""How long a certificate is valid, and why one is not accepted."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from newsletter.doctor import certificates
from newsletter.doctor.findings import Level

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def certificate(days_left: float, lifetime: float = 90) -> dict[str, str]:
    ends = NOW + timedelta(days=days_left)
    form = "%b %d %H:%M:%S %Y GMT"
    return {
        "notBefore": (ends - timedelta(days=lifetime)).strftime(form),
        "notAfter": ends.strftime(form),
    }


@pytest.mark.parametrize(
    ("days", "lifetime", "expected"),
    [(60, 90, []), (15, 90, []), (13, 90, [Level.ERROR]), (4, 6, []), (1, 6, [Level.ERROR])],
)
def test_a_certificate_is_renewed_two_weeks_before_its_end_or_at_a_third(
    days: float, lifetime: float, expected: list[Level]
) -> None:
    found = certificates.expiry(
        certificate(days, lifetime), check="tls.web", host="news.example:443", now=NOW
    )

    assert [one.level for one in found] == expected


def test_the_sentence_says_when_it_ends() -> None:
    (found,) = certificates.expiry(certificate(1), check="tls.web", host="a.example:443", now=NOW)

    assert found.sentence == "The certificate of a.example:443 ends in 1 day, on 2026-12-01."


@pytest.mark.parametrize("made", [None, {}, {"notAfter": "soon"}])
def test_a_certificate_without_an_end_could_not_be_checked(made: dict[str, str] | None) -> None:
    found = certificates.expiry(made, check="tls.web", host="a.example:443", now=NOW)

    assert [one.level for one in found] == [Level.NOT_CHECKED]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (10, "Renew it"),
        (9, "this machine's clock"),
        (62, "that name"),
        (64, "that name"),
        (20, "whole chain"),
        (18, "public authority"),
        (1, "valid one"),
    ],
)
def test_each_cause_has_its_way_out(code: int, hint: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "it is wrong."

    found = certificates.unverified(error, check="tls.relay", host="a.example:25")

    assert found.sentence == "The certificate of a.example:25 is not accepted: it is wrong."
    assert hint in found.hint
