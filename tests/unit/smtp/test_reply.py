"""What a reply means: the whole table, and the careful side of everything that is not in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.smtp import reply
from newsletter.smtp.reply import Kind, Phase, Reply, Scope

_A, _D, _R, _U = Kind.ACCEPTED, Kind.DEFERRED, Kind.REFUSED, Kind.UNKNOWN
_READER, _CONNECTION, _RUN = Scope.READER, Scope.CONNECTION, Scope.RUN
_MAIL, _RCPT, _DATA, _BODY = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY

TABLE = [
    # Accepted
    (_BODY, 250, "2.0.0 Ok: queued as 4F2A", _A, _READER),
    (_BODY, 250, "ok", _A, _READER),
    # The server leaves: nobody is charged
    (_MAIL, 421, "4.3.2 shutting down", _D, _CONNECTION),
    (_RCPT, 421, "4.7.0 too many messages on this connection", _D, _CONNECTION),
    (_DATA, 421, "busy", _D, _CONNECTION),
    (_BODY, 421, "4.7.28 unusual rate", _D, _CONNECTION),
    (_RCPT, 421, "5.7.32 the basic code decides", _D, _CONNECTION),
    # This reader, later
    (_RCPT, 450, "4.2.1 mailbox busy", _D, _READER),
    (_RCPT, 452, "4.2.2 mailbox full", _D, _READER),
    (_RCPT, 451, "4.7.1 greylisted, come back in five minutes", _D, _READER),
    (_RCPT, 450, "4.3.0 system problem", _D, _READER),
    (_BODY, 451, "4.4.1 no answer from host", _D, _READER),
    (_BODY, 452, "4.3.1 insufficient storage", _D, _READER),
    (_BODY, 450, "", _D, _READER),
    # This reader, never
    (_RCPT, 550, "5.1.1 no such user", _R, _READER),
    (_RCPT, 550, "5.1.2 no such host", _R, _READER),
    (_RCPT, 553, "5.1.3 bad address", _R, _READER),
    (_RCPT, 550, "5.1.6 has moved", _R, _READER),
    (_RCPT, 556, "5.1.10 takes no mail", _R, _READER),
    (_RCPT, 550, "5.4.4 unrouteable", _R, _READER),
    (_RCPT, 550, "5.2.1 disabled", _R, _READER),
    (_RCPT, 552, "5.2.2 over quota", _R, _READER),
    (_BODY, 552, "5.2.3 message too large for this mailbox", _R, _READER),
    (_BODY, 552, "5.3.4 message too large", _R, _READER),
    (_RCPT, 550, "5.5.0 mailbox unavailable", _R, _READER),
    (_RCPT, 501, "5.5.2 syntax error in address", _R, _READER),
    (_BODY, 550, "5.7.1 looks like spam", _R, _READER),
    (_BODY, 550, "5.7.26 unauthenticated", _R, _READER),
    (_RCPT, 550, "no", _R, _READER),
    # Our limits: never the reader's
    (_RCPT, 550, "5.4.5 Daily user sending limit exceeded", _D, _RUN),
    (_BODY, 550, "5.7.1 sending rate exceeded", _D, _RUN),
    (_RCPT, 550, "5.7.1 daily limit reached", _D, _RUN),
    # Our credentials, our commands, our message
    (_MAIL, 530, "5.7.0 Must issue a STARTTLS command first", _D, _RUN),
    (_RCPT, 535, "5.7.8 bad credentials", _D, _RUN),
    (_MAIL, 538, "5.7.11 encryption required", _D, _RUN),
    (_DATA, 503, "5.5.1 need RCPT", _D, _RUN),
    (_RCPT, 500, "5.5.2 what?", _D, _RUN),
    (_MAIL, 555, "5.5.4 unsupported option", _D, _RUN),
    (_DATA, 501, "5.5.4 no parameters", _D, _RUN),
    (_BODY, 550, "5.6.0 malformed", _D, _RUN),
    (_BODY, 554, "Message malformed", _D, _RUN),
    # Before the recipient is named it is about us
    (_MAIL, 452, "4.3.1 queue full", _D, _CONNECTION),
    (_MAIL, 550, "5.7.1 sender rejected", _D, _RUN),
    (_MAIL, 552, "5.3.4 too large", _D, _RUN),
    # What answers no question
    (_BODY, 354, "go ahead", _U, _READER),
    (_DATA, 250, "ok", _D, _CONNECTION),
    (_RCPT, 354, "go ahead", _D, _CONNECTION),
]


@pytest.mark.parametrize(
    ("phase", "code", "text", "kind", "scope"),
    TABLE,
    ids=[f"{phase}-{code}-{text[:12].strip()}" for phase, code, text, *_ in TABLE],
)
def test_the_table_of_replies(phase: Phase, code: int, text: str, kind: Kind, scope: Scope) -> None:
    outcome = reply.classify(phase, Reply(code, text))

    assert (outcome.kind, outcome.scope) == (kind, scope)
    assert (outcome.phase, outcome.code) == (phase, code)


@given(
    phase=st.sampled_from([_MAIL, _RCPT, _DATA, _BODY]),
    code=st.integers(200, 599),
    text=st.text(max_size=80),
)
def test_no_reply_of_any_kind_loses_a_message_or_blames_the_wrong_one(
    phase: Phase, code: int, text: str
) -> None:
    outcome = reply.classify(phase, Reply(code, text))

    assert (outcome.kind is _A) == (phase is _BODY and 200 <= code < 300)
    if outcome.kind is _R:
        assert code >= 500
        assert phase is not _MAIL
    if outcome.kind is _U:
        assert phase is _BODY
    if not outcome.is_charged:
        assert outcome.kind is _D
    assert outcome.text.isprintable()
    assert len(outcome.text) <= reply.TEXT_LIMIT


@pytest.mark.parametrize("phase", [Phase.CONNECT, _MAIL, _RCPT, _DATA])
def test_a_loss_before_the_message_left_charges_nobody(phase: Phase) -> None:
    outcome = reply.lost(phase, "the server left")

    assert (outcome.kind, outcome.is_charged) == (_D, False)


def test_a_loss_after_the_final_dot_is_unknown_rfc_1047() -> None:
    outcome = reply.lost(_BODY, "the server left")

    assert (outcome.kind, outcome.is_charged) == (_U, True)


def test_the_reason_of_a_loss_can_be_kept_whatever_the_server_said() -> None:
    outcome = reply.lost(_BODY, "421 \x00\r\n" + "z" * 70_000)

    assert outcome.text.isprintable()
    assert len(outcome.text) == reply.TEXT_LIMIT


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 no such user", "5.1.1"),
        ("5.1.1: no such user", "5.1.1"),
        ("4.2.2", "4.2.2"),
        ("5.1.10\nmore", "5.1.10"),
        ("no such user 5.1.1", None),
        ("5.1.1234 x", None),
        ("3.1.1 x", None),
        ("192.0.2.1 is blocked", None),
        ("5.7.1.4 is blocked", None),
        ("", None),
    ],
)
def test_the_enhanced_code_stands_at_the_start_of_the_text(text: str, enhanced: str | None) -> None:
    assert Reply(550, text).enhanced == enhanced


def test_the_words_of_a_reply_of_many_lines_are_one_line_without_repeated_codes() -> None:
    answer = Reply(550, "5.7.26 This mail\n5.7.26 is unauthenticated\x07.\n5.7.26 Sorry")

    assert answer.words == "This mail is unauthenticated . Sorry"
