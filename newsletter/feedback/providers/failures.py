"""What a provider says of a failure: the SMTP reply in it decides, else the provider's own class.

Pure. A provider stops more mails than far servers do, by lists of its own, for spam or a virus:
none of that says that there is no such mailbox.
"""

from __future__ import annotations

from functools import lru_cache

from newsletter.feedback import prose
from newsletter.feedback.bounce import verdict_on
from newsletter.feedback.prose import Found
from newsletter.feedback.reports import Report, Verdict
from newsletter.smtp import reply as replies

#: Stands for the address of a reader.
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

    `diagnostic` is what the far server said; without a reply in it the provider's class counts,
    `otherwise`, with what it `said`. What the provider calls a block (spam, virus, content, policy)
    is about our mail, whatever the reply.
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


# Servers say the same to many readers, but for the address.
@lru_cache(maxsize=256)
def _judged(diagnostic: str) -> tuple[Found, Verdict] | None:
    """Return the reply in a diagnostic, and what it comes to; None if there is none."""
    found = prose.reply_in(diagnostic)
    return None if found is None else (found, verdict_on(found, is_first_hand=False))


def mention(recipient: str, verdict: Verdict, *, message_id: str, text: str = "") -> Report:
    """Return a report that is no failure of the far server: no reply in it decides."""
    words = " ".join(text.split())[: replies.TEXT_LIMIT]
    return Report(recipient, verdict, text=words, message_id=message_id)
