"""Consequences of a reply beyond its delivery: for the relay, the domain and the operator.

Pure functions: from an outcome and counts of earlier ones to a decision or a sentence.
"""

from __future__ import annotations

from enum import StrEnum

from newsletter.errors import ConfigurationError, TransportUnavailable
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction, Scope

#: Consecutive messages that a domain's policy refuses before the domain is paused.
REFUSALS = 20
#: Tries on different connections before a message without a fault of its own returns to the queue.
TRIES = 3
#: Phases of the session before the message is marked as in flight.
_BEFORE_THE_MARK = frozenset({Phase.MAIL, Phase.RCPT})
#: Reactions to replies that can only be about one mailbox.
_ABOUT_A_MAILBOX = frozenset({Reaction.SUPPRESS, Reaction.SUSPECT, Reaction.COUNT})


class Sign(StrEnum):
    """The meaning of an outcome for the relay."""

    #: The relay refuses all of our mail.
    REFUSES = "refuses"
    #: The relay ended the session.
    FAILS = "fails"
    #: The relay replied about a reader.
    WORKS = "works"
    #: The reply is about the reader's domain.
    NONE = "none"


def react(outcome: Outcome, *, relay_refuses_all: bool, domain_refusals: int) -> Reaction:
    """Return the reaction to an outcome: that of its reply, or a stronger one.

    `relay_refuses_all` is whether the relay refused readers of many domains consecutively; then no
    reader is at fault, whatever the reply says. `domain_refusals` is the number of consecutive
    messages that the domain's policy had refused before this one.
    """
    if relay_refuses_all and may_be_about_us(outcome):
        return Reaction.STOP
    if outcome.reaction is Reaction.BREAK and domain_refusals + 1 >= REFUSALS:
        return Reaction.PAUSE
    return outcome.reaction


def revised(outcome: Outcome, reaction: Reaction) -> Outcome:
    """Return an outcome with this reaction; one that stops all mail is not charged to a reader."""
    if reaction is outcome.reaction:
        return outcome
    if reaction is Reaction.STOP:
        return outcome._replace(kind=Kind.DEFERRED, scope=Scope.RELAY, reaction=reaction)
    return outcome._replace(reaction=reaction)


def may_be_about_us(outcome: Outcome) -> bool:
    """Return whether a reply may refuse us as the sender, and not the reader."""
    is_refusal = outcome.kind is Kind.REFUSED or outcome.reaction is Reaction.PAUSE
    return is_refusal and outcome.reaction not in _ABOUT_A_MAILBOX


def sign(outcome: Outcome) -> Sign:
    """Return the meaning of an outcome for the relay."""
    if outcome.scope is Scope.RELAY:
        return Sign.REFUSES
    if outcome.scope is Scope.DOMAIN:
        return Sign.NONE
    is_answer = outcome.is_charged and outcome.kind is not Kind.UNKNOWN
    return Sign.WORKS if is_answer else Sign.FAILS


def may_retry_at_once(outcome: Outcome, *, is_stopping: bool) -> bool:
    """Return whether to try a message again immediately, on another connection.

    Some servers close a connection after a number of messages, and other relays may accept mail
    that one refuses. It is never retried after its mark: only a recorded outcome shows then that it
    has not left.
    """
    if outcome.phase not in _BEFORE_THE_MARK:
        return False
    if outcome.scope is Scope.RELAY:
        return not is_stopping
    return outcome.scope is Scope.CONNECTION


# Sentences for the operator


def relay_refuses(name: str, outcome: Outcome) -> ConfigurationError:
    """Return the error for a relay that refuses all our mail."""
    return ConfigurationError(
        f"{name} refuses our mail: {_quoted(outcome)}.",
        setting="smtp_url",
        hint=f"Nobody is blamed and nobody is lost: {_remedy(outcome)}, then run the same command "
        "again.",
    )


def relay_fails(name: str, outcome: Outcome) -> TransportUnavailable:
    """Return the error for a relay that repeatedly ends sessions."""
    return TransportUnavailable(
        f"{name} keeps ending conversations: {_quoted(outcome)}.",
        hint="Nobody is lost: the same command goes on where this one stopped.",
    )


def domain_paused(domain: str, outcome: Outcome) -> tuple[str, str]:
    """Return sentence and hint for a domain to which nothing is sent for a while."""
    return (
        f"{domain} has had enough of us: {_quoted(outcome)}.",
        f"Nothing goes there for ten minutes, then it begins slowly; {_remedy(outcome)}.",
    )


def mail_too_large(domain: str, outcome: Outcome) -> tuple[str, str]:
    """Return sentence and hint for a domain that refuses messages of this size."""
    return (
        f"{domain} takes no mail as large as ours: {_quoted(outcome)}.",
        "Its readers have not got it: fewer articles or shorter ones make it smaller.",
    )


def _quoted(outcome: Outcome) -> str:
    return f"{outcome.code or ''} {outcome.text}".strip().rstrip(".")


def _remedy(outcome: Outcome) -> str:
    advice = reply.advice(outcome)
    return f"look at {advice}" if advice else "mend what the server names"
