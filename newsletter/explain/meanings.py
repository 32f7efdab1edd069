"""Explains replies of servers and verdicts of reports, by pure functions."""

from __future__ import annotations

from newsletter.explain.facts import Reply
from newsletter.feedback.reports import Verdict
from newsletter.smtp import reply as replies
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction, Scope

_BY_VERDICT = {
    Verdict.DEAD: "a mail server said that nobody is there",
    Verdict.MAYBE: "a mail server said that there may be nobody",
    Verdict.FULL: "the mailbox is full",
    Verdict.LATER: "it failed for a cause that passes",
    Verdict.DELAYED: "a mail server still tries to deliver it",
    Verdict.OURS: "a server refuses our mail, our records or a policy: nothing about the reader",
    Verdict.COMPLAINT: "the reader complained about it as spam",
    Verdict.OPT_OUT: "the reader unsubscribed by their mailbox",
    Verdict.AUTO: "an automatic reply",
    Verdict.DELIVERED: "a mail server has put it into the mailbox",
    Verdict.OTHER: "a mail that says nothing of its delivery",
}
_BY_REACTION = {
    Reaction.SUPPRESS: "the server says that there is no such mailbox",
    Reaction.SUSPECT: "the server says that the mailbox is disabled, or not there",
    Reaction.COUNT: "the mailbox is full",
    Reaction.SLOW: "the receiving server has trouble",
    Reaction.PAUSE: "the receiving server takes no more of our mail for now",
    Reaction.BREAK: "a policy or a filter of the receiving server",
    Reaction.ALARM: "the mail is too large for the receiving server",
    Reaction.STOP: "the mail server refuses us, whoever the reader is",
}
#: The phase assumed for unknown or missing phases in the ledger.
_OTHERWISE = Phase.RCPT


def of_reply(said: Reply) -> str:
    """Return a clause that explains a reply or a lost connection."""
    outcome = _outcome(said)
    if outcome.kind is Kind.ACCEPTED:
        return "the mail server has taken it"
    if outcome.kind is Kind.UNKNOWN:
        return "the server's last answer is missing, so it may have taken the mail"
    return _of_refusal(outcome)


def of_verdict(verdict: str) -> str:
    """Return a clause for a verdict; one of another version is returned unchanged."""
    return _BY_VERDICT[Verdict(verdict)] if verdict in set(Verdict) else verdict


def words(said: Reply) -> str:
    """Return code, enhanced code and text of a reply; empty if there is none."""
    parts = (str(said.code) if said.code else "", said.enhanced or "", said.text or "")
    return " ".join(part for part in parts if part)


def _of_refusal(outcome: Outcome) -> str:
    if advice := replies.advice(outcome):
        return f"{_BY_REACTION.get(outcome.reaction, 'a matter of our set-up')}: {advice}"
    if outcome.reaction is not Reaction.NOTHING:
        return _BY_REACTION[outcome.reaction]
    if outcome.scope is Scope.CONNECTION:
        return "the connection ended before the mail had left"
    if outcome.kind is Kind.DEFERRED:
        return "the server asks to come back later"
    return "the server refuses this mail"


def _outcome(said: Reply) -> Outcome:
    phase = Phase(said.phase) if said.phase in set(Phase) else _OTHERWISE
    text = said.text or ""
    if said.code is None:
        return replies.lost(phase, text)
    if said.result == Kind.ACCEPTED:
        phase = Phase.BODY
    full = f"{said.enhanced} {text}" if said.enhanced else text
    return replies.classify(phase, replies.Reply(said.code, full))
