"""The request in a returned mail, decided from its headers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import tokens
from newsletter.feedback import unsubscription
from newsletter.feedback.unsubscription import Unsubscription

TOKEN = f"a-token_of-ours_____.{'x' * tokens.SIGNATURE_LENGTH}"


def mail(subject: str, sender: str = "Ann <ann@readers.example>", more: str = "") -> bytes:
    return f"{more}From: {sender}\r\nSubject: {subject}\r\nTo: digest@miasfeed.example\r\n".encode()


@pytest.mark.parametrize(
    "subject",
    [
        f"unsubscribe {TOKEN}",
        f"Unsubscribe: {TOKEN}",
        f"unsubscribe\r\n {TOKEN}",
        f"[EXTERNAL] unsubscribe {TOKEN}",
        f"***SPAM*** unsubscribe {TOKEN}",
        f"=?utf-8?q?unsubscribe_{TOKEN.replace('_', '=5F')}?=",
        f"[Unsubscribe] unsubscribe {TOKEN}.",
        f"unsubscribe%20{TOKEN}",
        f"unsubscribe+<{TOKEN}>",
    ],
)
def test_the_token_of_the_link_is_found_in_the_subject(subject: str) -> None:
    assert unsubscription.read(mail(subject)) == Unsubscription(TOKEN, "Ann <ann@readers.example>")


@pytest.mark.parametrize(
    "subject",
    [
        "unsubscribe",
        "Please UNSUBSCRIBE me",
        f"unsubscribe {TOKEN}x",
        f"unsubscribe {TOKEN[1:]}",
    ],
)
def test_a_request_without_a_token_is_unsigned(subject: str) -> None:
    found = unsubscription.read(mail(subject))

    assert found is not None
    assert found.token is None


@pytest.mark.parametrize(
    "before",
    [
        "Re:", "AW:", "Fwd:", "SV:", "Out of office:", "Automatic reply:",
        "Automatische Antwort:", "Abwesenheitsnotiz:", "Réponse automatique :", "[Auto-Reply]",
        "[#4711]", "(Away)", "I am away,", "自动回复：",
    ],
)  # fmt: skip
def test_a_subject_that_only_quotes_ours_is_unsigned(before: str) -> None:
    for subject in (f"{before} unsubscribe {TOKEN}", f"unsubscribe {TOKEN} {before}"):
        found = unsubscription.read(mail(subject))
        assert found is not None
        assert found.token is None


AUTOMATIC = [
    "Auto-Submitted: auto-replied",
    "Auto-Submitted: (a comment) auto-replied (vacation)",
    "Content-Type: multipart/report; report-type=delivery-status",
    "Content-Type: Multipart/Report; report-type=disposition-notification",
    "Auto-Submitted: Auto-Replied (vacation)",
    "X-Auto-Response-Suppress: All",
    "X-Auto-Response-Suppress: DR, OOF, AutoReply",
    "Precedence: auto_reply",
    "Precedence: bulk",
    "X-Autoreply: yes",
    "X-Autorespond: Re: unsubscribe",
    "X-AutoReply-From: ann@readers.example",
    "x-auto-reply: true",
]


@pytest.mark.parametrize("header", AUTOMATIC)
def test_an_automatic_answer_never_unsubscribes(header: str) -> None:
    assert unsubscription.read(mail(f"unsubscribe {TOKEN}", more=f"{header}\r\n")) is None
    assert unsubscription.read(mail("Please unsubscribe", more=f"{header}\r\n")) is None


@pytest.mark.parametrize(
    "more",
    [
        "Auto-Submitted: auto-replied\r\nX-Apple-Unsubscribe: true\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Auto-Submitted: no\r\n",
        "Precedence: list\r\nList-Id: <contact.miasfeed.example>\r\n",
        "X-Auto-Response-Suppress: None\r\n",
        "X-Google-Unsubscribe: 1\r\nIn-Reply-To: <a@b>\r\n",
    ],
)
def test_a_mail_that_a_client_writes_for_its_reader_unsubscribes(more: str) -> None:
    found = unsubscription.read(mail(f"unsubscribe {TOKEN}", more=more))

    assert found is not None
    assert found.token == TOKEN


@pytest.mark.parametrize("piece", ["[SPAM] ", "*", "unsubscribe ", "[unsubscribe", "(((ext"])
def test_a_subject_of_any_shape_takes_little_time(piece: str) -> None:
    found = unsubscription.read(mail(piece * 250 + " unsubscribe"))

    assert found is not None
    assert found.token is None


@pytest.mark.parametrize(
    "subject", ["", "Lunch?", "I unsubscribed yesterday", TOKEN, "Undelivered Mail"]
)
def test_a_mail_about_something_else_is_no_request(subject: str) -> None:
    assert unsubscription.read(mail(subject)) is None


def test_only_the_subject_is_a_request() -> None:
    """A bounce quotes the link in the headers of the original mail."""
    quoted = b"From: mailer\r\nList-Unsubscribe: <mailto:a@b?subject=unsubscribe%20" + (
        TOKEN.encode() + b">\r\nSubject: Undelivered mail\r\n"
    )

    assert unsubscription.read(quoted) is None


def test_a_sender_has_no_terminal_control_characters() -> None:
    found = unsubscription.read(mail("unsubscribe", "=?utf-8?b?G1szMW1yZWQKCg==?= <a@b.example>"))

    assert found is not None
    assert found.sender == "[31mred <a@b.example>"


def test_a_header_of_any_size_costs_little_and_hides_no_other() -> None:
    """Decoding it whole would take seconds, because it is quadratic."""
    slow = mail("=?a?q?x " * 8_000 + "unsubscribe")

    assert unsubscription.read(slow) is None
    assert unsubscription.read(b"Subject: =?caf\xe9?q?hi?= unsubscribe\r\n\r\n") is not None
    assert (
        unsubscription.read(b"Subject: unsubscribe\r\nFrom: =?caf\xe9?q?hi?=\r\n\r\n") is not None
    )


@given(st.binary(max_size=400), st.sampled_from([b"", b"Subject: unsubscribe ", b"Subject: =?"]))
def test_any_octets_are_read(octets: bytes, before: bytes) -> None:
    found = unsubscription.read(before + octets)

    assert found is None or found.sender.isprintable()
