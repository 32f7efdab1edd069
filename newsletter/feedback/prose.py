"""Finds recipients, the SMTP reply and the answered command in the text of a bounce. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from newsletter.feedback.status import ADDRESS
from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply

#: Maximum number of recipients that are read from one text.
MAXIMUM_RECIPIENTS = 200
#: Maximum characters of a text that are searched for a reply; each recipient needs a search.
_READ_LIMIT = 10_000
#: Maximum characters of a reply in a text.
_REPLY_LENGTH = 1_000

# The beginning of the returned message: its first headers, or an introductory line.
_HEADERS = re.compile(r"^>?\s?(?:Return-Path:|Received: ?(?:from|by|\())", re.I | re.M)
_ANNOUNCED = re.compile(
    r"^[ \t>]{0,9}(?:[-=*_+#]{2,}+.{0,60}(?:original (?:message|mail)|copy of"
    r"|below (?:this|the next)"
    r"|(?:returned|unsent|rejected|bounced) (?:mail|message)|message headers?|header and top"
    r"|header of the|headers? follow|undelivered message|forwarded message|mensaje original"
    r"|message (?:d')?origin\w*|urspr\w+ nachricht|originalnachricht|messaggio originale"
    r"|mensagem original|исходное сообщение|原始邮件|attachment is a copy)"
    r"|(?:the )?original message (?:headers?|as received|follows|details)\b"
    r"|(?:the )?(?:message headers?|first \d+ lines).{0,40}follow|your message reads"
    r"|received message follows|included is a copy|here is a copy"
    r"|a copy of the original message|old message:|original headers)",
    re.I | re.M,
)

# An SMTP reply at the beginning of a line, or after a word or sign that introduces it.
_REPLY = re.compile(
    r"(?:^[ \t>]{0,9}|\bsaid[: ]+|<<<\s*|>>>\s*|[:(\"'\[=;]\s*|\.\.\.\s*"
    r"|\b(?:error|code|reply|response|returned|status|with|was|is|host)\s+(?:code\s+)?)"
    r"(?P<code>[45]\d\d)(?:[ \t]*[-:]?[ \t]*\(?#?(?P<status>[45]\.\d{1,3}\.\d{1,3})\b|"
    r"[ \t]*[-:]|[ \t]+(?![ \t\d]|bytes|octets|lines|kb))",
    re.I | re.M,
)
# An enhanced status code alone, as qmail and others write it: (#5.1.1). Version numbers and IP
# addresses do not match.
_STATUS = re.compile(
    r"(?<![\w.])(?<!exim )(?<!version )(?<!vpopmail )#?([45]\.[0-7]\.\d{1,3})(?![\w.]*\.?\d)", re.I
)
_END = re.compile(
    r"\n[ \t]*\n|\n[ \t]*(?:<<<|>>>|---|QUIT\b|RSET\b)|\n[ \t>]{0,9}[2-5]\d\d[ -](?=\D)"
)
_TRAILING_CODE = re.compile(r"\[SMTP Error Code (?P<code>[45]\d\d)\]", re.I)

_OF_RECIPIENT = (
    r"(?:rcpt|recipient) (?:to )?command|(?:reply to|response to|after|sent|command)[:\s]*"
    r"(?:pipelined )?rcpt|^\W{0,9}rcpt to:|rcpt to generated|smtp:rcpt|does not like recipient"
    r"|recipient address rejected|\(state 1[34]\)"
)
_OF_BODY = (
    r"end of data|(?:reply to|response to|after|sent|command)[:\s]*(?:pipelined )?(?:the )?"
    r"(?:data|body|message)\b|^\W{0,9}data\s?$|after i sent the message|\(state 1[5-9]\)"
    r"|message content|failed after"
)
_OF_SENDER = (
    r"(?:reply to|response to|after|sent|command)[:\s]*(?:pipelined )?mail\b|^\W{0,9}mail from:"
    r"|does not like (?:the )?sender"
)
# For text in lower case; blanks match line breaks too, because lines may be wrapped anywhere.
_PHASE = re.compile(
    f"(?P<rcpt>{_OF_RECIPIENT})|(?P<body>{_OF_BODY})|(?P<mail>{_OF_SENDER})".replace(" ", r"\s+"),
    re.M,
)

_COMMAND = re.compile(r"\W{0,9}(?:rcpt to:|mail from:|data\s?\Z)")

_ALONE = re.compile(
    r"^[ \t>|*•+.\-–]{0,20}(?:(?:failed |final |original )?(?:recipients?|e-?mail|address(?:es)?|to"
    r"|error-for|user|undeliverable(?: address)?|destinataires?|empf\w+|destinatario)\s*"
    r"(?:address)?\s*:)?[ \t]*(?:\"[^\"\n]{0,100}\"[ \t]*|[^\n<:@]{0,60}(?=<))?"
    r"[<\[\"'(]{0,9}(?:smtp:|rfc822;[ \t]*|mailto:|[^\n@]{0,120}dda:smtp=)?[ \t]*"
    rf"(?P<address>{ADDRESS.pattern})",
    re.I | re.M,
)
# Words before an address that is no recipient: a contact, or one that was expanded or forwarded.
_ASIDE = re.compile(
    r"(?:contact|e-?mail to|write to|help|from|sender|questions?|expanded|generated|forwarded"
    r"|administrator|reply-to|message-id|cc|http\S*|www\S*)\b[^\n@]{0,30}$"
    r"|\b(?:if|try|contact|(?:expanded|generated|forwarded) from:?)\s{1,9}<?$",
    re.I,
)
_INTRODUCED = re.compile(
    r"did not reach the following|(?:cannot|could not) be (?:delivered|reached)[^\n]{0,40}:"
    r"|following (?:recipients?|address(?:es)?|user)[^\n]{0,60}(?::|failed)",
    re.I,
)
_MADE_FROM = re.compile(
    r"(?:expanded|generated|forwarded) from:?\s{0,40}<?"
    rf"(?P<address>{ADDRESS.pattern})",
    re.I,
)
_NOBODY = re.compile(
    r"(?:postmaster|mailer-daemon|abuse|hostmaster|webmaster|support|helpdesk|noreply|no-reply)@",
    re.I,
)


# Characters before an address that look like a part of it, such as a reply code.
_NOT_OF_ADDRESS = re.compile(r"^(?:smtp=|[245]\d\d-)", re.I)


class Named(NamedTuple):
    """A recipient in a text, and the lines about that recipient."""

    address: str
    said: str
    #: The address that was expanded or forwarded to this recipient; empty if there is none.
    original: str = ""


class Found(NamedTuple):
    """A reply in a text."""

    reply: Reply
    #: The answered command; None if the text does not mention it.
    phase: Phase | None


def above(text: str) -> tuple[str, str]:
    """Split a text into the report and the returned message below it."""
    starts = [found.start() for found in (_HEADERS.search(text), _ANNOUNCED.search(text)) if found]
    # A text that begins with the returned message is not split there: the report is below it.
    start = min((one for one in starts if text[:one].strip()), default=len(text))
    return text[:start], text[start:]


def named(text: str, others: Collection[str]) -> list[Named]:
    """Return the recipients in a text; addresses in `others` do not count."""
    begins = _begin_of_list(text)
    alone = [(found["address"], found.start("address")) for found in _ALONE.finditer(text)]
    marks = _first_each([one for one in alone if one[1] >= begins], text, others)
    marks = marks or _first_each(alone, text, others)
    if not marks:
        # Without other recipients, postmaster@ and the like count too: readers may have such ones.
        marks = _first_each(alone, text, others, nobody=None)
    if not marks:
        anywhere = [(found[0], found.start()) for found in ADDRESS.finditer(text)]
        made = [(found["address"], found.start()) for found in _MADE_FROM.finditer(text)]
        marks = _first_each(anywhere, text, others) or made[:1]
    said = _said_of(marks, text)
    return [Named(one, said[one.lower()], _made_from(one, said[one.lower()])) for one, _ in marks]


def _said_of(marks: Sequence[tuple[str, int]], text: str) -> dict[str, str]:
    """Return the lines about each recipient: from its address to that of another recipient."""
    said: dict[str, list[str]] = {address.lower(): [] for address, _ in marks}
    if not marks:
        return {}
    owner, at = marks[0][0].lower(), text.rfind("\n", 0, marks[0][1]) + 1
    # A transcript repeats the addresses. A single recipient has the whole text.
    again = ADDRESS.finditer(text, at) if len(marks) > 1 else iter(())
    for found in again:
        name = _NOT_OF_ADDRESS.sub("", found[0]).lower()
        if name in said and name != owner:
            line = max(at, text.rfind("\n", at, found.start()) + 1)
            said[owner].append(text[at:line])
            owner, at = name, line
    said[owner].append(text[at:])
    return {name: "".join(parts) for name, parts in said.items()}


def listed(text: str) -> list[Named]:
    """Return all recipients in a text, including our own addresses."""
    return named(text[_begin_of_list(text) :], ())


def _begin_of_list(text: str) -> int:
    """Return the position after the introduction of a list of recipients, or 0.

    Addresses above it are quoted from the returned mail.
    """
    found = _INTRODUCED.search(text)
    return found.end() if found else 0


def _made_from(address: str, said: str) -> str:
    """Return the address that an alias or forwarding turned into a recipient; empty for none."""
    found = _MADE_FROM.search(said)
    return found["address"] if found and found["address"].lower() != address.lower() else ""


def _first_each(
    marks: Sequence[tuple[str, int]],
    text: str,
    others: Collection[str],
    nobody: re.Pattern[str] | None = _NOBODY,
) -> list[tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for written, start in marks:
        address = _NOT_OF_ADDRESS.sub("", written).strip("'*").rstrip(".")
        is_aside = _ASIDE.search(text[max(0, start - 60) : start]) is not None
        known = address.lower() in others or (nobody is not None and nobody.match(address))
        if not (is_aside or known) and len(found) < MAXIMUM_RECIPIENTS:
            found.setdefault(address.lower(), (address, start))
    return list(found.values())


def bare_names(text: str) -> list[str]:
    """Return names that are alone on their lines, below a line that ends with a colon."""
    listed = re.search(r":[ \t]*\n((?:[ \t]*[\w.+-]{1,64}[ \t]*(?:\n|$)){1,50})", text)
    return listed[1].split() if listed else []


# Cached, because a report with many recipients searches the same text for each of them.
@lru_cache(maxsize=8)
def reply_in(text: str) -> Found | None:
    """Return the first SMTP reply in a text; None if there is none."""
    text = text[:_READ_LIMIT]
    found = _REPLY.search(text)
    if found:
        status = found["status"]
        # A reply ends with its paragraph, with the next line of a transcript, or with the next
        # reply.
        rest = text[found.end() : found.end() + _REPLY_LENGTH]
        rest = re.sub(rf"\n\W{{0,9}}{found['code']}[ -]+(?:[45]\.\d+\.\d+\s)?", "\n", rest)
        rest = _END.split(rest)[0]
        status = status or _enhanced(rest)
        return Found(_reply(int(found["code"]), status, rest), phase_in(text, found.start()))
    trailing = _TRAILING_CODE.search(text)
    if trailing:
        return Found(_reply(int(trailing["code"]), None, text[:_REPLY_LENGTH]), phase_in(text))
    alone = _STATUS.search(text)
    if alone is None:
        return None
    # The reply is the whole line, because its text may precede the code.
    start = text.rfind("\n", 0, alone.start()) + 1
    said = _END.split(text[start : start + _REPLY_LENGTH])[0]
    code = 550 if alone[1][0] == "5" else 450
    return Found(_reply(code, alone[1], said), phase_in(text, alone.start()))


@lru_cache(maxsize=8)
def phase_in(text: str, at: int | None = None) -> Phase | None:
    """Return the phase of the answered command, by the words around a reply.

    The last mention of a command before the reply counts, or else the first mention after it. A
    command itself (a line of a transcript) does not count after the reply, as another reply
    answers it.
    """
    marks = [*_PHASE.finditer(text[:_READ_LIMIT].lower())]
    before = [mark for mark in marks if at is not None and mark.start() <= at]
    said = [mark for mark in marks if not _COMMAND.match(mark[0])]
    # Without the position of a reply, commands count only if all are the same.
    is_one = at is None and len({mark.lastgroup for mark in marks}) == 1
    found = before[-1:] or said or (marks if is_one else [])
    return Phase(str(found[0].lastgroup)) if found else None


def _reply(code: int, status: str | None, text: str) -> Reply:
    words = " ".join(text.split())
    return Reply(code, f"{status} {words}" if status and status[0] == str(code)[0] else words)


def _enhanced(text: str) -> str | None:
    found = _STATUS.search(text)
    return found[1] if found else None
