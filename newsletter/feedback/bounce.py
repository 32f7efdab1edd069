"""Parses bounces and other returned mails into reports. Pure; never raises; in bounded time.

This file finds the recipient, the SMTP reply and the command that was answered. The reply itself is
classified by `smtp.reply`, in the same way as a reply in one of our own SMTP conversations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from newsletter.feedback import complaints, mime, prose, signs, status, unsubscription, vendors
from newsletter.feedback.mime import Headers, Part
from newsletter.feedback.prose import Found, Named
from newsletter.feedback.reports import Kind, Report, Returned, Verdict
from newsletter.feedback.status import Block
from newsletter.smtp import reply as replies
from newsletter.smtp.outcome import Kind as Result
from newsletter.smtp.outcome import Outcome, Phase, Reaction
from newsletter.smtp.reply import Reply

#: The headers of a returned message are searched in this number of paragraphs.
_ANNOUNCEMENTS = 4
_OF_MESSAGE = re.compile(r"^(?:Message-ID|From|Received|X-HmXmr\w+):", re.I | re.M)


def read(octets: bytes) -> Returned:
    """Parse a returned mail."""
    return of(*mime.read(octets))


def of(headers: Headers, parts: Sequence[Part]) -> Returned:
    """Classify a returned mail, given its headers and parts."""
    mail = _Mail(headers, parts)
    if (complaint := complaints.read(headers, parts, mail.sent)) is not None:
        kind, verdict, recipient, text = complaint
        found = Report(recipient, verdict, text=text, message_id=mail.message_id)
        return Returned(kind, (found,))
    if unsubscription.is_of_apple(headers):
        return _of_person(headers, Kind.UNSUBSCRIBE, Verdict.OPT_OUT)
    if not mail.has_status and signs.is_automatic(headers):
        return _of_person(headers, Kind.AUTO, Verdict.AUTO)
    blocks = mail.blocks
    if not blocks and (wrapped := _wrapped(headers, parts)) is not None:
        mail = _Mail(*wrapped)
        blocks = mail.blocks
    return _of_blocks(mail, blocks) if blocks else _without_blocks(mail)


def _without_blocks(mail: _Mail) -> Returned:
    headers = mail.headers
    if signs.is_automatic(headers):
        return _of_person(headers, Kind.AUTO, Verdict.AUTO)
    if signs.is_bounce(headers, mail.text, has_message=mail.has_message):
        return _of_text(mail)
    if unsubscription.request_of(headers) is not None:
        return _of_person(headers, Kind.UNSUBSCRIBE, Verdict.OPT_OUT)
    return Returned(Kind.OTHER)


def _of_person(headers: Headers, kind: Kind, verdict: Verdict) -> Returned:
    """Return the report of a mail from a reader's own mailbox; the sender may be forged."""
    sender = status.address_of(headers.get("From"))
    return Returned(kind, (Report(sender, verdict, text=headers.get("Subject")),))


def _wrapped(headers: Headers, parts: Sequence[Part]) -> tuple[Headers, list[Part]] | None:
    """Return the report that a gateway has wrapped into a mail with the same subject."""
    for part in parts:
        if part.type == "message/rfc822":
            inner = mime.read(part.body)
            is_same = inner[0].get("Subject") == headers.get("Subject")
            return inner if is_same and inner[0].type == "multipart/report" else None
    return None


class _Mail:
    """A returned mail, with its parts by their purpose."""

    def __init__(self, headers: Headers, parts: Sequence[Part]) -> None:
        self.headers = headers
        inside = next((at for at, part in enumerate(parts) if part.is_returned), len(parts))
        # A multipart without its boundary cannot be split, and is read as one text.
        is_text = ("text/", "multipart/")
        texts = [part for part in parts[:inside] or parts if part.type.startswith(is_text)]
        plain = [part for part in texts if part.type != "text/html"] or texts
        written = "\n\n".join(part.text for part in plain)[: mime.TEXT_LENGTH]
        #: The text above the returned message; `below` is that message if it is part of the text.
        self.text, below = prose.above(written)
        self._statuses = [
            part.text
            for part in parts
            if part.type in {"message/delivery-status", "message/global-delivery-status"}
        ]
        returned = parts[inside].text if inside < len(parts) else below
        self.has_message = bool(returned)
        self._has_returned_part = inside < len(parts)
        #: The headers of the mail that came back.
        self.sent = Headers(_head(returned).encode("utf-8", "surrogatepass"))

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks of the delivery status, one for each recipient."""
        # Some systems write the delivery status into the text instead of a part of its own.
        texts = self._statuses or [self.text]
        found = [block for text in texts for block in status.blocks(text)]
        # Repeated blocks are dropped.
        return [*dict.fromkeys(found)][: status.MAXIMUM_BLOCKS]

    @property
    def has_status(self) -> bool:
        """Whether the mail has a part with a delivery status (RFC 3464)."""
        return bool(self._statuses)

    @cached_property
    def is_of_system(self) -> bool:
        """Whether headers or parts, and not only the subject, show that a mail system wrote it."""
        is_failure = bool(self.headers.all("X-Failed-Recipients"))
        return is_failure or self._has_returned_part or signs.is_of_daemon(self.headers)

    @cached_property
    def message_id(self) -> str:
        return self.sent.get("Message-ID")

    @cached_property
    def reader(self) -> str:
        """The address that our mail was sent to, according to its returned headers."""
        return status.reader_of(self.sent)

    @cached_property
    def is_delay(self) -> bool:
        """Whether the mail only warns that delivery of another one is delayed."""
        return signs.is_delay(self.headers, self.text)

    @cached_property
    def others(self) -> set[str]:
        """Addresses in headers that are ours or the reporting system's, not the recipient's."""
        names = ("To", "From", "Sender", "Reply-To", "Return-Path", "Errors-To", "Delivered-To")
        written = [self.headers.get(name) for name in names]
        written += [self.sent.get(name) for name in ("From", "Sender", "Return-Path", "Reply-To")]
        found = {one.lower() for text in written for one in status.ADDRESS.findall(text)}
        return found - {self.reader.lower()}

    @cached_property
    def above(self) -> str:
        """The text above the first recipient."""
        return self.text[: max(0, self.text.find(self.failed[0].address))] if self.failed else ""

    def names(self, address: str) -> bool:
        """Return whether subject or text contain an address, not only the returned message."""
        return address.lower() in self._written

    def count(self, address: str) -> int:
        """Return how often the text contains an address."""
        return self._written_text.count(address.lower())

    @cached_property
    def _written_text(self) -> str:
        return self.text.lower()

    @cached_property
    def _written(self) -> str:
        failed = self.headers.all("X-Failed-Recipients")
        return "\n".join([self.headers.get("Subject"), *failed, self._written_text]).lower()

    @cached_property
    def failed(self) -> list[Named]:
        """The failed recipients according to the headers, or else the text."""
        written = self.headers.all("X-Failed-Recipients")
        listed = status.ADDRESS.findall(
            ", ".join(mime.decoded(one) if "=?" in one else one for one in written)
        )
        listed = listed[: prose.MAXIMUM_RECIPIENTS]
        found = prose.named(self.text, self.others)
        if listed:
            said = {one.address.lower(): one.said for one in found}
            return [Named(one, said.get(one.lower(), self.text)) for one in dict.fromkeys(listed)]
        if found:
            return found
        subject = prose.named(self.headers.get("Subject"), self.others)
        if subject or self.reader:
            return [Named(subject[0].address if subject else self.reader, self.text)]
        bare = [Named(one, self.text) for one in self._bare()]
        # Our own addresses count as recipients if there are no others, for a mail sent to oneself.
        return bare or prose.listed(self.text)

    def _bare(self) -> Iterator[str]:
        """Yield the recipients that a system lists without its own domain."""
        domain = status.address_of(self.headers.get("From")).rpartition("@")[2]
        if domain:
            for name in prose.bare_names(self.text):
                yield f"{name}@{domain}"


def _head(returned: str) -> str:
    """Return the headers of a returned message, also if an introductory line precedes them."""
    unquoted = returned.lstrip().removeprefix(">").replace("\n>", "\n")
    paragraphs = unquoted.split("\n\n", _ANNOUNCEMENTS)[:_ANNOUNCEMENTS]
    return next((one for one in paragraphs if _OF_MESSAGE.search(one)), "")


def _of_blocks(mail: _Mail, blocks: Sequence[Block]) -> Returned:
    """Return the reports in a delivery status."""
    said = {one.address.lower(): one.said for one in prose.named(mail.text, mail.others)}
    reports = _each_once(
        one
        for block in blocks
        for one in _of_block(mail, block, _text_about(block, said) or mail.text)
    )
    verdicts = {one.verdict for one in reports}
    if verdicts == {Verdict.DELIVERED}:
        return Returned(Kind.DELIVERED, reports)
    is_delay = verdicts <= {Verdict.DELAYED, Verdict.DELIVERED}
    return Returned(Kind.DELAYED if is_delay else Kind.BOUNCE, reports)


def _text_about(block: Block, said: Mapping[str, str]) -> str:
    """Return the text about a block's recipient, and about the address that was forwarded to it."""
    names = dict.fromkeys((block.recipient.lower(), block.original.lower()))
    return "\n".join(said.get(name, "") for name in names).strip()


def _of_block(mail: _Mail, block: Block, text: str) -> Iterator[Report]:
    recipient = block.recipient or next((one.address for one in mail.failed), "")
    action = block.action or ("delivered" if block.status.startswith("2") else "failed")
    if action in {"relayed", "expanded", "delivered"}:
        yield _report(mail, recipient, None, Verdict.DELIVERED, block.status)
        return
    found = _reply_of(block, text)
    if action == "delayed" or (block.action != "failed" and mail.is_delay):
        verdict = Verdict.DELAYED
    else:
        verdict = verdict_on(found, is_first_hand=_has_words(block))
    yield _report(mail, recipient, found, verdict, block.status)
    if block.is_forwarded:
        yield _report(mail, block.original, found, _of_forwarder(verdict), block.status)


def _of_forwarder(verdict: Verdict) -> Verdict:
    """Return the verdict on an address that forwards: not dead if the mailbox behind it is."""
    return Verdict.MAYBE if verdict is Verdict.DEAD else verdict


def _each_once(reports: Iterable[Report]) -> tuple[Report, ...]:
    """Return the first report of each recipient."""
    found: dict[str, Report] = {}
    for one in reports:
        found.setdefault(one.recipient.lower(), one)
    return tuple(found.values())


def _has_words(block: Block) -> bool:
    return prose.reply_in(block.diagnostic) is None


def _reply_of(block: Block, text: str) -> Found | None:
    """Return the reply that a block reports, else the one in the text above, else its status."""
    found = prose.reply_in(block.diagnostic) or prose.reply_in(text)
    if found is not None:
        phase = found.phase or prose.phase_in(text)
        return Found(_with_status(found.reply, block.status), phase)
    row = None if _is_specific(block.status) else _row_in(block.diagnostic or text)
    if row is not None:
        return row
    # A failure with the status of a success (2.x.x) is contradictory, and ignored.
    is_status = block.status.startswith(("4", "5"))
    return Found(_of_status(block.status, block.diagnostic), None) if is_status else None


def _with_status(reply: Reply, written: str) -> Reply:
    """Add the reporting system's status to a reply without one of its own, if they agree.

    Sendmail writes 5.1.1 for every 550 and 5.2.2 for every 552, so these two count only if the text
    of the reply says the same, or is empty.
    """
    fits = _is_specific(written) and written[0] == str(reply.code)[0]
    if reply.enhanced or not fits:
        return reply
    if len(reply.text) > 5:
        said, reaction = _meaning_of(reply.text), replies.classify(Phase.RCPT, reply).reaction
        is_of_mailbox = said is Verdict.DEAD or reaction in _OF_MAILBOX
        is_full = said is Verdict.FULL or reaction is Reaction.COUNT
        if (written.startswith("5.1.") and not is_of_mailbox) or (
            written == "5.2.2" and not is_full
        ):
            return reply
    return Reply(reply.code, f"{written} {reply.text}")


def _is_specific(written: str) -> bool:
    return bool(written) and not written.endswith(".0.0")


def _of_status(written: str, words: str) -> Reply:
    return Reply(550 if written[0] == "5" else 450, f"{written} {words}")


_OF_MAILBOX = {Reaction.SUPPRESS, Reaction.SUSPECT}


def _of_text(mail: _Mail) -> Returned:
    """Return the reports in a bounce without a delivery status."""
    named = mail.failed or [Named("", mail.text)]
    above = [None, *named]
    reports = _each_once(
        one
        for before, name in zip(above, named, strict=False)
        for one in _of_name(mail, name, is_only=len(named) == 1, before=before)
    )
    return Returned(Kind.DELAYED if mail.is_delay else Kind.BOUNCE, reports)


def _of_name(mail: _Mail, name: Named, *, is_only: bool, before: Named | None) -> Iterator[Report]:
    own = prose.reply_in(name.said) or _row_in(name.said)
    # With several recipients, a reason elsewhere in the text may be about another one. It is used
    # only if the text has no explanation of this one.
    is_of_all = is_only or not _is_explained(name)
    of_all = mail.text if is_of_all else mail.above
    found = own or prose.reply_in(of_all) or _row_in(of_all)
    if found is not None and found.phase is None and is_only:
        found = found._replace(phase=prose.phase_in(mail.text))
    verdict = Verdict.DELAYED if mail.is_delay else verdict_on(found, is_first_hand=False)
    # An explanation below a list of recipients may be about any of them.
    is_shared = before is not None and not _is_explained(before) and mail.count(name.address) == 1
    is_own = is_only or (own is not None and not is_shared)
    is_of_it = mail.is_of_system and mail.names(name.address) and is_own
    if verdict is Verdict.DEAD and not is_of_it:
        verdict = Verdict.MAYBE
    yield _report(mail, name.address, found, verdict)
    if name.original:
        yield _report(mail, name.original, found, _of_forwarder(verdict))


def _is_explained(name: Named) -> bool:
    """Return whether the text about a recipient has more than the address."""
    return len(name.said) >= len(name.address) + 20


def _row_in(text: str) -> Found | None:
    row = vendors.reply_of(text)
    return Found(row[1], row[0]) if row is not None else None


def verdict_on(found: Found | None, *, is_first_hand: bool) -> Verdict:
    """Return the verdict for a reply; `is_first_hand` if the reporting system itself gave it.

    A reply to an unknown command is about the mailbox only if its text says so.
    """
    if found is None:
        return Verdict.OTHER
    outcome = replies.classify(found.phase or Phase.RCPT, found.reply)
    verdict = _MEANINGS.get(outcome.reaction) or _without_reaction(outcome)
    said = _meaning_of(found.reply.text)
    if verdict is Verdict.DEAD:
        return _doubted(said, found.reply)
    if verdict is Verdict.MAYBE and not is_first_hand and found.phase is None:
        # The answered command is not known to be RCPT, so the text has to mention the mailbox.
        return verdict if said in {Verdict.DEAD, Verdict.MAYBE} else Verdict.OTHER
    is_of_mail = verdict is Verdict.OURS and outcome.reaction in _OF_MAIL
    if is_of_mail or verdict in {Verdict.OTHER, Verdict.LATER}:
        return _explained(verdict, said, found.reply)
    return verdict


def _doubted(said: Verdict | None, reply: Reply) -> Verdict:
    """Return the verdict for a status of a dead address, whose text may mean something else."""
    if said is None:
        return Verdict.DEAD
    is_of_host = reply.enhanced == "5.4.4"
    return Verdict.MAYBE if said is Verdict.LATER and not is_of_host else said


def _explained(verdict: Verdict, said: Verdict | None, reply: Reply) -> Verdict:
    """Return the verdict by the text of a reply whose status is vague: never a dead address."""
    if said is Verdict.FULL:
        return said
    if said in {Verdict.DEAD, Verdict.MAYBE} and reply.code >= 500:
        return Verdict.MAYBE
    return said if said is not None and verdict is Verdict.OTHER else verdict


def _meaning_of(text: str) -> Verdict | None:
    """Return the verdict by the text of a reply alone; None if the text is not known."""
    row = vendors.reply_of(text)
    if row is None:
        return None
    outcome = replies.classify(*row)
    return _MEANINGS.get(outcome.reaction) or _without_reaction(outcome)


#: Reactions to replies about a message; some systems send such replies about a mailbox, too.
_OF_MAIL = {Reaction.BREAK, Reaction.PAUSE, Reaction.ALARM}
_MEANINGS = {
    Reaction.SUPPRESS: Verdict.DEAD,
    Reaction.SUSPECT: Verdict.MAYBE,
    Reaction.COUNT: Verdict.FULL,
    Reaction.BREAK: Verdict.OURS,
    Reaction.ALARM: Verdict.OURS,
    Reaction.STOP: Verdict.OURS,
    Reaction.PAUSE: Verdict.OURS,
    Reaction.SLOW: Verdict.LATER,
}


def _without_reaction(outcome: Outcome) -> Verdict:
    return Verdict.LATER if outcome.kind is Result.DEFERRED else Verdict.OTHER


def _report(
    mail: _Mail, recipient: str, found: Found | None, verdict: Verdict, written: str = ""
) -> Report:
    if found is None:
        return Report(recipient, verdict, status=written or None, message_id=mail.message_id)
    reply = found.reply
    return Report(
        recipient,
        verdict,
        reply.code,
        reply.enhanced or written or None,
        found.phase,
        reply.words,
        mail.message_id,
    )
