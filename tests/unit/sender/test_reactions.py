"""What a reply leads to, row by row."""

from __future__ import annotations

import pytest

from newsletter.errors import ConfigurationError, TransportUnavailable
from newsletter.sender import reactions
from newsletter.sender.reactions import REFUSALS, Sign
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction, Scope
from newsletter.smtp.reply import Reply


def outcome(
    kind: Kind = Kind.DEFERRED,
    reaction: Reaction = Reaction.NOTHING,
    *,
    phase: Phase = Phase.RCPT,
    scope: Scope = Scope.READER,
) -> Outcome:
    return Outcome(kind, phase, scope, 550, "5.7.1", "no.", reaction)


ACCEPTED, DEFERRED, REFUSED, UNKNOWN = Kind.ACCEPTED, Kind.DEFERRED, Kind.REFUSED, Kind.UNKNOWN
NOTHING, PAUSE, BREAK, STOP = Reaction.NOTHING, Reaction.PAUSE, Reaction.BREAK, Reaction.STOP

#: What a reply alone leads to, and what it leads to at a relay that refuses everybody.
ROWS = {
    "an accepted message": (ACCEPTED, NOTHING, NOTHING, NOTHING),
    "a message put off": (DEFERRED, NOTHING, NOTHING, NOTHING),
    "a message that may have arrived": (UNKNOWN, NOTHING, NOTHING, NOTHING),
    "a domain with trouble": (DEFERRED, Reaction.SLOW, Reaction.SLOW, Reaction.SLOW),
    "a domain that wants no more": (DEFERRED, PAUSE, PAUSE, STOP),
    "a refusal without a reason": (REFUSED, NOTHING, NOTHING, STOP),
    "a policy": (REFUSED, BREAK, BREAK, STOP),
    "a message too large": (REFUSED, Reaction.ALARM, Reaction.ALARM, STOP),
    "a dead address": (REFUSED, Reaction.SUPPRESS, Reaction.SUPPRESS, Reaction.SUPPRESS),
    "perhaps a dead address": (REFUSED, Reaction.SUSPECT, Reaction.SUSPECT, Reaction.SUSPECT),
    "a full mailbox": (DEFERRED, Reaction.COUNT, Reaction.COUNT, Reaction.COUNT),
    "a full mailbox, refused": (REFUSED, Reaction.COUNT, Reaction.COUNT, Reaction.COUNT),
    "a relay that refuses us": (DEFERRED, STOP, STOP, STOP),
}


@pytest.mark.parametrize(("kind", "said", "alone", "everybody"), ROWS.values(), ids=list(ROWS))
def test_the_reaction_to_a_reply(
    kind: Kind, said: Reaction, alone: Reaction, everybody: Reaction
) -> None:
    one = outcome(kind, said)

    assert reactions.react(one, relay_refuses_all=False, domain_refusals=0) is alone
    assert reactions.react(one, relay_refuses_all=True, domain_refusals=0) is everybody


@pytest.mark.parametrize(
    ("said", "before", "expected"),
    [
        (BREAK, 0, BREAK),
        (BREAK, REFUSALS - 2, BREAK),
        (BREAK, REFUSALS - 1, PAUSE),
        (BREAK, REFUSALS, PAUSE),
        (NOTHING, REFUSALS, NOTHING),
        (Reaction.SUPPRESS, REFUSALS, Reaction.SUPPRESS),
    ],
)
def test_a_policy_that_refuses_one_message_after_the_other_pauses_its_domain(
    said: Reaction, before: int, expected: Reaction
) -> None:
    one = outcome(REFUSED, said)

    assert reactions.react(one, relay_refuses_all=False, domain_refusals=before) is expected


def test_a_relay_that_refuses_everybody_weighs_more_than_a_policy() -> None:
    one = outcome(REFUSED, BREAK)

    assert reactions.react(one, relay_refuses_all=True, domain_refusals=REFUSALS) is STOP


def test_an_outcome_is_unchanged_where_its_reaction_is() -> None:
    one = outcome(REFUSED, BREAK)

    assert reactions.revised(one, BREAK) is one


def test_a_pause_changes_nothing_else_of_an_outcome() -> None:
    one = outcome(REFUSED, BREAK)

    assert reactions.revised(one, PAUSE) == one._replace(reaction=PAUSE)


def test_where_all_mail_is_refused_no_reader_is_charged() -> None:
    found = reactions.revised(outcome(REFUSED, NOTHING), STOP)

    assert (found.kind, found.scope, found.reaction) == (DEFERRED, Scope.RELAY, STOP)
    assert not found.is_charged


@pytest.mark.parametrize(
    ("kind", "scope", "expected"),
    [
        (ACCEPTED, Scope.READER, Sign.WORKS),
        (DEFERRED, Scope.READER, Sign.WORKS),
        (REFUSED, Scope.READER, Sign.WORKS),
        (UNKNOWN, Scope.READER, Sign.FAILS),
        (DEFERRED, Scope.CONNECTION, Sign.FAILS),
        (DEFERRED, Scope.DOMAIN, Sign.NONE),
        (DEFERRED, Scope.RELAY, Sign.REFUSES),
    ],
)
def test_what_an_outcome_says_about_its_relay(kind: Kind, scope: Scope, expected: Sign) -> None:
    assert reactions.sign(outcome(kind, scope=scope)) is expected


@pytest.mark.parametrize(
    ("phase", "scope", "running", "stopping"),
    [
        (Phase.MAIL, Scope.CONNECTION, True, True),
        (Phase.RCPT, Scope.CONNECTION, True, True),
        (Phase.MAIL, Scope.RELAY, True, False),
        (Phase.RCPT, Scope.RELAY, True, False),
        (Phase.RCPT, Scope.READER, False, False),
        (Phase.RCPT, Scope.DOMAIN, False, False),
        # Marked: only a verdict says that they have not left after all.
        (Phase.DATA, Scope.CONNECTION, False, False),
        (Phase.DATA, Scope.RELAY, False, False),
        (Phase.BODY, Scope.CONNECTION, False, False),
    ],
)
def test_what_is_tried_again_at_once(
    phase: Phase, scope: Scope, *, running: bool, stopping: bool
) -> None:
    one = outcome(phase=phase, scope=scope)

    assert reactions.may_retry_at_once(one, is_stopping=False) is running
    assert reactions.may_retry_at_once(one, is_stopping=True) is stopping


def test_a_refusal_of_all_mail_names_the_relay_its_words_and_what_to_look_at() -> None:
    one = reply.classify(Phase.MAIL, Reply(530, "5.7.0 Authentication required."))

    found = reactions.relay_refuses("The mail server", one)

    assert isinstance(found, ConfigurationError)
    assert found.message == "The mail server refuses our mail: 530 Authentication required."
    assert found.hint is not None
    assert "NEWSLETTER_SMTP_URL, then run the same command again." in found.hint


def test_a_relay_that_ends_conversations_is_named_with_the_reason() -> None:
    found = reactions.relay_fails("The mail server", reply.lost(Phase.BODY, "it hung up"))

    assert isinstance(found, TransportUnavailable)
    assert found.message == "The mail server keeps ending conversations: it hung up."


@pytest.mark.parametrize("say", [reactions.domain_paused, reactions.mail_too_large])
def test_a_domain_is_named_with_its_words(say) -> None:  # noqa: ANN001
    sentence, hint = say("example.com", outcome(REFUSED))

    assert sentence.startswith("example.com ")
    assert sentence.endswith(": 550 no.")
    assert hint


def test_without_advice_the_server_names_what_to_mend() -> None:
    _, hint = reactions.domain_paused("example.com", Outcome(DEFERRED, Phase.RCPT, text="busy"))

    assert hint.endswith("; mend what the server names.")
