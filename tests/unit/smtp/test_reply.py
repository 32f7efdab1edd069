"""Classification of replies: the whole table, and safe defaults for all others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Phase, Reaction, Scope
from newsletter.smtp.reply import Reply

_A, _D, _R, _U = Kind.ACCEPTED, Kind.DEFERRED, Kind.REFUSED, Kind.UNKNOWN
_READER, _CONNECTION = Scope.READER, Scope.CONNECTION
_DOMAIN, _RELAY = Scope.DOMAIN, Scope.RELAY
_MAIL, _RCPT, _DATA, _BODY = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY

_PAUSE, _SLOW, _STOP, _COUNT = Reaction.PAUSE, Reaction.SLOW, Reaction.STOP, Reaction.COUNT
_SUPPRESS, _SUSPECT, _BREAK, _ALARM = (
    Reaction.SUPPRESS,
    Reaction.SUSPECT,
    Reaction.BREAK,
    Reaction.ALARM,
)

#: Known replies; rows without a reaction have none.
TABLE: list[tuple[Any, ...]] = [
    # Accepted
    (_BODY, 250, "2.0.0 Ok: queued as 4F2A", _A, _READER),
    (_BODY, 250, "ok", _A, _READER),
    # Greeting and closing do not accept a message.
    (_BODY, 220, "mx.example ESMTP", _U, _READER),
    (_BODY, 221, "2.0.0 shutting down", _U, _READER),
    # The server closes the connection: not charged
    (_MAIL, 421, "4.3.2 shutting down", _D, _CONNECTION),
    (_RCPT, 421, "4.7.0 too many messages on this connection", _D, _CONNECTION),
    (_RCPT, 421, "4.3.2 The server is shutting down", _D, _CONNECTION),
    (_DATA, 421, "busy", _D, _CONNECTION, _SLOW),
    (_BODY, 421, "4.4.2 timeout", _D, _CONNECTION, _SLOW),
    # This reader, later
    (_RCPT, 450, "4.2.1 mailbox busy", _D, _READER, _COUNT),
    (
        _RCPT,
        450,
        "4.2.1 The user you are trying to contact is receiving mail at a rate",
        _D,
        _READER,
    ),
    (_RCPT, 452, "4.2.2 mailbox full", _D, _READER, _COUNT),
    (_RCPT, 452, "4.2.2 The recipient's inbox is out of storage space", _D, _READER, _COUNT),
    (_RCPT, 452, "Mailbox full", _D, _READER, _COUNT),
    (_RCPT, 451, "4.7.1 greylisted, come back in five minutes", _D, _READER),
    (_RCPT, 450, "4.2.0 <r@x.example>: Recipient address rejected: Greylisted", _D, _READER),
    (_RCPT, 451, "4.7.0 Greylisting in action, please come back later", _D, _READER),
    (_RCPT, 450, "4.3.0 system problem", _D, _READER, _SLOW),
    (_BODY, 451, "4.4.1 no answer from host", _D, _READER, _SLOW),
    (_BODY, 452, "4.3.1 insufficient system resources", _D, _READER, _SLOW),
    (_BODY, 450, "", _D, _READER, _SLOW),
    (_BODY, 451, "", _D, _READER),
    # Rate limits of the destination
    (_BODY, 421, "4.7.28 unusual rate", _D, _DOMAIN, _PAUSE),
    (_RCPT, 450, "4.7.28 Our system has detected an unusual rate of mail", _D, _DOMAIN, _PAUSE),
    (_RCPT, 450, "4.7.28 <a@b.example>: Recipient address rejected: rate", _D, _DOMAIN, _PAUSE),
    (_RCPT, 450, "4.7.1 <a@b.example>: Recipient address rejected: rate", _D, _DOMAIN, _PAUSE),
    (_RCPT, 421, "4.7.0 Try again later", _D, _DOMAIN, _PAUSE),
    (
        _RCPT,
        421,
        "4.7.0 [TSS04] Messages temporarily deferred due to user complaints",
        _D,
        _DOMAIN,
        _PAUSE,
    ),
    (_RCPT, 451, "[TSS11] All messages from 192.0.2.1 will be deferred", _D, _DOMAIN, _PAUSE),
    (
        _BODY,
        421,
        "RP-001 The mail server IP connecting to Outlook.com has exceeded the rate limit allowed",
        _D,
        _DOMAIN,
        _PAUSE,
    ),
    (_RCPT, 450, "4.1.8 too many messages, slow down", _D, _DOMAIN, _PAUSE),
    (_BODY, 550, "5.7.1 sending rate exceeded", _D, _DOMAIN, _PAUSE),
    (_RCPT, 550, "5.7.1 daily limit reached", _D, _DOMAIN, _PAUSE),
    # Our records and settings, for now
    *(
        (_BODY, 421, f"4.7.{n} not as it should be", _D, _DOMAIN, _PAUSE)
        for n in (23, 26, 27, 29, 30, 31, 32, 40)
    ),
    (_RCPT, 421, "5.7.32 the basic code decides", _D, _DOMAIN, _PAUSE),
    # ... and permanent: refused for that reader
    *(
        (_BODY, 550, f"5.7.{n} not as it should be", _R, _READER, _PAUSE)
        for n in (23, 25, 26, 27, 29, 30, 31, 32, 40)
    ),
    # Refused, and the address does not exist
    (_RCPT, 550, "5.1.1 no such user", _R, _READER, _SUPPRESS),
    (
        _RCPT,
        550,
        "5.1.1 The email account that you tried to reach does not exist",
        _R,
        _READER,
        _SUPPRESS,
    ),
    (_RCPT, 550, "5.1.2 no such host", _R, _READER, _SUPPRESS),
    (_RCPT, 553, "5.1.3 bad address", _R, _READER, _SUPPRESS),
    (_RCPT, 550, "5.1.6 has moved", _R, _READER, _SUPPRESS),
    (_RCPT, 556, "5.1.10 takes no mail", _R, _READER, _SUPPRESS),
    (_RCPT, 556, "takes no mail", _R, _READER, _SUPPRESS),
    (_RCPT, 550, "5.4.4 unrouteable", _R, _READER, _SUPPRESS),
    (
        _BODY,
        554,
        "delivery error: dd This user doesn't have a yahoo.com account (r@yahoo.com) [0]",
        _R,
        _READER,
        _SUPPRESS,
    ),
    # ... possibly
    (_RCPT, 550, "ada@readers.example...User unknown", _R, _READER, _SUSPECT),
    (_RCPT, 550, "5.2.1 disabled", _R, _READER, _SUSPECT),
    (
        _RCPT,
        550,
        "5.2.1 The email account that you tried to reach is inactive",
        _R,
        _READER,
        _SUSPECT,
    ),
    (_RCPT, 550, "5.5.0 Requested action not taken: mailbox unavailable", _R, _READER, _SUSPECT),
    (_RCPT, 550, "5.4.1 Recipient address rejected: Access denied", _R, _READER, _SUSPECT),
    (_RCPT, 550, "No such user here", _R, _READER, _SUSPECT),
    # ... or the mailbox is full
    (_RCPT, 552, "5.2.2 over quota", _R, _READER, _COUNT),
    (_RCPT, 552, "5.2.2 Mailbox exceeds allowed size", _R, _READER, _COUNT),
    (_RCPT, 552, "Mailbox quota exceeded", _R, _READER, _COUNT),
    # ... or the mail is too large
    (_BODY, 552, "5.2.3 message too large for this mailbox", _R, _READER, _ALARM),
    (_BODY, 552, "5.3.4 message too large", _R, _READER, _ALARM),
    (_BODY, 552, "message size exceeds fixed limit", _R, _READER, _ALARM),
    # ... or a spam filter refused, with any code
    (_BODY, 550, "5.7.1 looks like spam", _R, _READER, _BREAK),
    (
        _BODY,
        550,
        "5.7.1 Our system has detected that this message is likely unsolicited mail",
        _R,
        _READER,
        _BREAK,
    ),
    (
        _RCPT,
        550,
        "5.7.1 Unfortunately, their network is on our block list (S3140)",
        _R,
        _READER,
        _BREAK,
    ),
    (_BODY, 554, "5.7.1 [HM08] Message rejected due to local policy", _R, _READER, _BREAK),
    (_BODY, 554, "5.7.9 Message not accepted for policy reasons", _R, _READER, _BREAK),
    (_RCPT, 550, "5.1.1 blocked by our spam filter", _R, _READER, _BREAK),
    # ... or for an unknown reason
    (_RCPT, 501, "5.5.2 syntax error in address", _R, _READER),
    (_RCPT, 550, "no", _R, _READER),
    (_RCPT, 550, "5.0.0 other", _R, _READER),
    (_RCPT, 554, "5.3.0 other", _R, _READER),
    (_RCPT, 550, "5.6.7 no internationalised addresses", _R, _READER),
    # The quota of our account: temporary, and not charged to a reader
    (_RCPT, 550, "5.4.5 Daily user sending limit exceeded", _D, _RELAY, _STOP),
    # Our credentials, our commands, our address, our message
    (_MAIL, 530, "5.7.0 Must issue a STARTTLS command first", _D, _RELAY, _STOP),
    (_RCPT, 535, "5.7.8 bad credentials", _D, _RELAY, _STOP),
    (_MAIL, 538, "5.7.11 encryption required", _D, _RELAY, _STOP),
    (_DATA, 503, "5.5.1 need RCPT", _D, _RELAY, _STOP),
    (_DATA, 500, "5.5.2 what?", _D, _RELAY, _STOP),
    (_RCPT, 503, "5.5.1 MAIL first", _D, _RELAY, _STOP),
    (_RCPT, 500, "5.5.2 what?", _D, _RELAY, _STOP),
    (_MAIL, 555, "5.5.4 unsupported option", _D, _RELAY, _STOP),
    (_DATA, 501, "5.5.4 no parameters", _D, _RELAY, _STOP),
    (_BODY, 550, "5.5.2 bare line feed", _D, _RELAY, _STOP),
    (_RCPT, 553, "5.1.8 Sender address rejected: Domain not found", _D, _RELAY, _STOP),
    (
        _RCPT,
        550,
        "5.1.0 <news@mia.example>: Sender address rejected: User unknown in virtual mailbox table",
        _D,
        _RELAY,
        _STOP,
    ),
    (_BODY, 550, "5.6.0 malformed", _D, _RELAY, _STOP),
    (_BODY, 554, "Message malformed", _D, _RELAY, _STOP),
    # Before the recipient is named it is about us
    (_MAIL, 452, "4.3.1 queue full", _D, _CONNECTION),
    (_MAIL, 550, "5.7.1 sender rejected", _D, _RELAY, _STOP),
    # ... except for the size or the SMTPUTF8 in MAIL
    (_MAIL, 552, "5.3.4 Message size exceeds fixed limit", _R, _READER, _ALARM),
    (_MAIL, 552, "message size exceeds what we take", _R, _READER, _ALARM),
    (_MAIL, 452, "4.3.4 message too large for now", _D, _CONNECTION),
    (_MAIL, 550, "5.6.7 Non-ASCII addresses not permitted", _R, _READER),
    # The relay does not relay for us
    *(
        (phase, code, said, _D, _RELAY, _STOP)
        for phase, code, said in (
            (_RCPT, 554, "5.7.1 <r@x.example>: Relay access denied"),
            (_RCPT, 550, "5.7.1 Relaying denied"),
            (_RCPT, 550, "relay not permitted"),
            (_RCPT, 550, "5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
            (_RCPT, 554, "5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied"),
            (_RCPT, 550, "authentication required"),
            (_BODY, 554, "Message rejected: Email address is not verified. The following"),
            (_BODY, 550, "The from address does not match a verified Sender Identity"),
            # ... or rejects our envelope sender
            (_RCPT, 550, "Sender address has null MX"),
            (_RCPT, 550, "5.1.2 Domain of sender address news@mia.example does not exist"),
            (_RCPT, 553, "5.1.3 <news@mia.example>: Sender address syntax error"),
            (_RCPT, 550, "5.1.1 Sender is invalid"),
            (
                _RCPT,
                550,
                "Action not taken: mailbox unavailable\ninvalid DNS MX or A/AAAA resource record",
            ),
        )
    ),
    # ... but a quoted reply of another server is about this reader
    (
        _RCPT,
        550,
        "5.7.1 <r@x.example>: unverified address: host mx.x.example said: Relay access denied",
        _R,
        _READER,
        _BREAK,
    ),
    # Addresses are not searched for words
    (_RCPT, 550, "<first-rate@g.example>: user unknown", _R, _READER, _SUSPECT),
    (_RCPT, 550, "5.1.1 <anti-spam@x.example>: User unknown", _R, _READER, _SUPPRESS),
    (_RCPT, 550, "5.1.1 <bob@blocked.example>: User unknown", _R, _READER, _SUPPRESS),
    (_RCPT, 550, "No mailbox bob@policy.example: see https://x.example/spam", _R, _READER),
    # A mailbox has a quota, too
    (_RCPT, 452, "4.2.2 Mailbox full: message would exceed quota", _D, _READER, _COUNT),
    (_RCPT, 452, "4.2.2 user's message store is over its quota limit", _D, _READER, _COUNT),
    (_RCPT, 550, "mailbox full", _R, _READER, _COUNT),
    (_RCPT, 550, "over quota", _R, _READER, _COUNT),
    # A rate limit on the recipient
    (
        _RCPT,
        550,
        "5.2.1 The user you are trying to contact is receiving mail at a rate that",
        _R,
        _READER,
    ),
    # These words are also used for policies
    (_RCPT, 550, "Requested action not taken: mailbox unavailable", _R, _READER),
    (
        _RCPT,
        550,
        "Requested action not taken: mailbox unavailable (S2017062302)",
        _R,
        _READER,
        _SUSPECT,
    ),
    (_RCPT, 550, "Too many invalid recipients", _R, _READER),
    (_RCPT, 555, "5.5.2 Syntax error", _R, _READER),
    (_RCPT, 504, "5.1.1 what?", _R, _READER),
    # Outlook's and Yahoo's own
    (_BODY, 550, "5.7.515 Access denied, sending domain", _R, _READER, _PAUSE),
    (_BODY, 550, "5.7.509 Access denied, sending domain does not pass DMARC", _R, _READER, _PAUSE),
    (_BODY, 550, "5.7.28 Our system has detected an unusual rate", _D, _DOMAIN, _PAUSE),
    (_RCPT, 451, "4.7.500 Server busy. Please try again later", _D, _DOMAIN, _PAUSE),
    (_RCPT, 451, "4.7.650 The mail server has been temporarily rate limited", _D, _DOMAIN, _PAUSE),
    (_RCPT, 421, "4.7.1 [TS03] All messages from 192.0.2.1 will be deferred", _D, _DOMAIN, _PAUSE),
    (_BODY, 550, "SC-001 (COL0) Unfortunately, messages weren't sent", _R, _READER, _BREAK),
    (_MAIL, 550, "5.1.1 no such user", _D, _RELAY, _STOP),
    # Replies that fit no command
    (_BODY, 354, "go ahead", _U, _READER),
    (_DATA, 250, "ok", _D, _CONNECTION),
    (_RCPT, 354, "go ahead", _D, _CONNECTION),
]


@pytest.mark.parametrize(
    "row", TABLE, ids=[f"{phase}-{code}-{text[:12].strip()}" for phase, code, text, *_ in TABLE]
)
def test_the_table_of_replies(row: tuple[Any, ...]) -> None:
    phase, code, text, kind, scope, *reaction = row

    outcome = reply.classify(phase, Reply(code, text))

    assert (outcome.kind, outcome.scope, outcome.reaction) == (
        kind,
        scope,
        (reaction or [Reaction.NOTHING])[0],
    )
    assert (outcome.phase, outcome.code) == (phase, code)


@given(
    phase=st.sampled_from([_MAIL, _RCPT, _DATA, _BODY]),
    code=st.integers(200, 599),
    text=st.text(max_size=80),
)
def test_no_reply_loses_a_message_or_concerns_the_wrong_reader(
    phase: Phase, code: int, text: str
) -> None:
    outcome = reply.classify(phase, Reply(code, text))

    assert (outcome.kind is _A) == (phase is _BODY and 200 <= code < 300 and code not in {220, 221})
    if outcome.kind is _R:
        assert code >= 500
        assert phase is not _MAIL
    if outcome.kind is _U:
        assert phase is _BODY
    if not outcome.is_charged:
        assert outcome.kind is _D
    if outcome.reaction in {Reaction.SUPPRESS, Reaction.SUSPECT}:
        assert outcome.kind is _R
    assert outcome.text.isprintable()
    assert len(outcome.text) <= reply.TEXT_LIMIT


@given(
    phase=st.sampled_from([_RCPT, _DATA, _BODY]),
    code=st.sampled_from([450, 451, 452, 500, 550, 551, 552, 553, 554, 559]),
    status=st.from_regex(r"[45]\.\d{1,3}\.\d{1,3}", fullmatch=True),
)
def test_only_codes_of_missing_addresses_suppress(phase: Phase, code: int, status: str) -> None:
    outcome = reply.classify(phase, Reply(code, f"{status} in words that nobody knows"))

    dead = {"1.1", "1.2", "1.3", "1.6", "1.10", "4.4"}
    assert outcome.reaction is not _SUPPRESS or (status.partition(".")[2] in dead and code >= 550)
    assert outcome.reaction is not _SUSPECT or status.endswith(".2.1")


@pytest.mark.parametrize(
    ("phase", "code", "text", "word"),
    [
        (_BODY, 421, "4.7.30 DKIM", "DKIM"),
        (_BODY, 550, "5.7.25 PTR", "PTR"),
        (_BODY, 550, "5.7.26 unauthenticated", "SPF"),
        (_BODY, 421, "4.7.29 TLS", "STARTTLS"),
        (_BODY, 421, "4.7.32 From", "DMARC"),
        (_MAIL, 535, "5.7.8 bad credentials", "NEWSLETTER_SMTP_URL"),
        (_RCPT, 553, "5.1.8 Sender address rejected", "NEWSLETTER_RETURN_PATH"),
        (_RCPT, 550, "5.4.5 Daily user sending limit exceeded", "NEWSLETTER_LIMIT_PER_DAY"),
        (_BODY, 552, "5.3.4 too large", "size"),
        (_MAIL, 552, "5.3.4 Message size exceeds fixed limit", "size"),
        (_BODY, 550, "5.7.515 Access denied", "DMARC"),
        (_RCPT, 554, "5.7.1 <r@x.example>: Relay access denied", "SMTP_URL"),
    ],
)
def test_advice_names_the_record_or_setting(phase: Phase, code: int, text: str, word: str) -> None:
    assert word in reply.advice(reply.classify(phase, Reply(code, text)))


def test_where_nothing_of_ours_is_at_fault_no_advice_is_given() -> None:
    assert reply.advice(reply.classify(_RCPT, Reply(550, "5.1.1 no such user"))) == ""


@pytest.mark.parametrize("phase", [_MAIL, _RCPT, _DATA])
def test_a_loss_before_the_message_left_is_not_charged(phase: Phase) -> None:
    outcome = reply.lost(phase, "the server left")

    assert (outcome.kind, outcome.is_charged) == (_D, False)


def test_a_loss_after_the_final_dot_is_unknown_rfc_1047() -> None:
    outcome = reply.lost(_BODY, "the server left")

    assert (outcome.kind, outcome.is_charged) == (_U, True)


def test_the_reason_of_a_loss_can_be_stored() -> None:
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
def test_the_enhanced_code_is_read_at_the_start_of_the_text(
    text: str, enhanced: str | None
) -> None:
    assert Reply(550, text).enhanced == enhanced


def test_the_words_of_a_reply_of_many_lines_are_one_line_without_repeated_codes() -> None:
    answer = Reply(550, "5.7.26 This mail\n5.7.26 is unauthenticated\x07.\n5.7.26 Sorry")

    assert answer.words == "This mail is unauthenticated . Sorry"
