"""Classifies failures by the SMTP reply in an event, or else by the provider's own class. Pure.

A provider also refuses mails itself, because of lists of its own, spam or a virus; such a refusal
does not show that a mailbox does not exist.
"""

from __future__ import annotations

from functools import lru_cache

from newsletter.feedback import prose
from newsletter.feedback.bounce import verdict_on
from newsletter.feedback.prose import Found
from newsletter.feedback.reports import Report, Verdict
from newsletter.smtp import reply as replies

#: Placeholder for the reader's address in a cached reply.
_ANYBODY = "reader@reader.invalid"
_OF_ADDRESS = {Verdict.DEAD, Verdict.MAYBE}


def report(
    recipient: str,
    diagnostic: str,
    *,
    otherwise: Verdict,
    message_id: str = "",
    said: str = "",
    is_block: bool = False,
) -> Report:
    """Return the report of a failure.

    `diagnostic` is the text of the recipient's server. If it contains no reply, the verdict is
    `otherwise`, the provider's own class, and the text is `said`. A block (spam, virus, content,
    policy) is caused by our mail, whatever the reply.
    """
    is_named = "@" in recipient and recipient in diagnostic
    said_of_anybody = diagnostic.replace(recipient, _ANYBODY) if is_named else diagnostic
    judged = _judged(said_of_anybody)
    if judged is None:
        words = " ".join((diagnostic or said).split())[: replies.TEXT_LIMIT]
        return Report(recipient, otherwise, text=words, message_id=message_id)
    found, verdict = judged
    if is_block and verdict in _OF_ADDRESS:
        verdict = Verdict.OURS
    reply = found.reply
    words = reply.words.replace(_ANYBODY, recipient)[: replies.TEXT_LIMIT]
    return Report(recipient, verdict, reply.code, reply.enhanced, found.phase, words, message_id)


# Cached, because servers send the same reply for many readers, apart from the address.
@lru_cache(maxsize=256)
def _judged(diagnostic: str) -> tuple[Found, Verdict] | None:
    """Return the reply in a diagnostic and its verdict; None if there is no reply."""
    found = prose.reply_in(diagnostic)
    return None if found is None else (found, verdict_on(found, is_first_hand=False))


def mention(recipient: str, verdict: Verdict, *, message_id: str, text: str = "") -> Report:
    """Return a report with a given verdict, for events other than failures."""
    words = " ".join(text.split())[: replies.TEXT_LIMIT]
    return Report(recipient, verdict, text=words, message_id=message_id)
