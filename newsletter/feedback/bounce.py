"""Reads what comes back by mail: octets in, reports out. Pure, never an error, in bounded work.

Who is meant, which reply was given and to which command is found here; what the reply means,
`smtp.reply` decides as for one of our own conversations.
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

#: Paragraphs of a returned message among which its headers are.
_ANNOUNCEMENTS = 4
_OF_MESSAGE = re.compile(r"^(?:Message-ID|From|Received|X-HmXmr\w+):", re.I | re.M)


def read(octets: bytes) -> Returned:
    """Return what a mail comes to."""
    return of(*mime.read(octets))


def of(headers: Headers, parts: Sequence[Part]) -> Returned:
    """Return what a mail of these parts comes to."""
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
    """Return a mail that comes from a reader's own mailbox; the sender may be forged."""
    sender = status.address_of(headers.get("From"))
    return Returned(kind, (Report(sender, verdict, text=headers.get("Subject")),))


def _wrapped(headers: Headers, parts: Sequence[Part]) -> tuple[Headers, list[Part]] | None:
    """Return the report inside a mail that a gateway has put around it, with the same subject."""
    for part in parts:
        if part.type == "message/rfc822":
            inner = mime.read(part.body)
            is_same = inner[0].get("Subject") == headers.get("Subject")
            return inner if is_same and inner[0].type == "multipart/report" else None
    return None


class _Mail:
    """The parts of a mail by what they are for."""

    def __init__(self, headers: Headers, parts: Sequence[Part]) -> None:
        self.headers = headers
        inside = next((at for at, part in enumerate(parts) if part.is_returned), len(parts))
        # A multipart whose boundary is missing is one text.
        is_text = ("text/", "multipart/")
        texts = [part for part in parts[:inside] or parts if part.type.startswith(is_text)]
        plain = [part for part in texts if part.type != "text/html"] or texts
        written = "\n\n".join(part.text for part in plain)[: mime.TEXT_LENGTH]
        #: The text above the returned message, and that message if it stands in the text.
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
        """What a delivery status says of each recipient."""
        # Some systems have no part for the delivery status, and write it into the text.
        texts = self._statuses or [self.text]
        found = [block for text in texts for block in status.blocks(text)]
        # One that is repeated says nothing new.
        return [*dict.fromkeys(found)][: status.MAXIMUM_BLOCKS]

    @property
    def has_status(self) -> bool:
        """Whether it has a part for the delivery status (RFC 3464)."""
        return bool(self._statuses)

    @cached_property
    def is_of_system(self) -> bool:
        """Whether a mail system has written it, by more than its subject."""
        is_failure = bool(self.headers.all("X-Failed-Recipients"))
        return is_failure or self._has_returned_part or signs.is_of_daemon(self.headers)

    @cached_property
    def message_id(self) -> str:
        return self.sent.get("Message-ID")

    @cached_property
    def reader(self) -> str:
        """The one address that the mail was sent to, by its own headers."""
        return status.reader_of(self.sent)

    @cached_property
    def is_delay(self) -> bool:
        """Whether it only warns that another is late."""
        return signs.is_delay(self.headers, self.text)

    @cached_property
    def others(self) -> set[str]:
        """Addresses that are ours or the reporting system's."""
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
        """Return whether it names a recipient itself, not only the mail that it returns."""
        return address.lower() in self._written

    def count(self, address: str) -> int:
        """Return how often the text names a recipient."""
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
        """The recipients that headers or the text name."""
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
        # Who writes to himself gets a report of himself.
        return bare or prose.listed(self.text)

    def _bare(self) -> Iterator[str]:
        """Yield the recipients that a system names without its own domain."""
        domain = status.address_of(self.headers.get("From")).rpartition("@")[2]
        if domain:
            for name in prose.bare_names(self.text):
                yield f"{name}@{domain}"


def _head(returned: str) -> str:
    """Return the headers of a message that may stand below a line that announces it."""
    unquoted = returned.lstrip().removeprefix(">").replace("\n>", "\n")
    paragraphs = unquoted.split("\n\n", _ANNOUNCEMENTS)[:_ANNOUNCEMENTS]
    return next((one for one in paragraphs if _OF_MESSAGE.search(one)), "")


def _of_blocks(mail: _Mail, blocks: Sequence[Block]) -> Returned:
    """Return what a delivery status says of its recipients."""
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
    """Return what the text says of a recipient, or of whom it was made from."""
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
    """Return what a verdict says of who has the mail forwarded: another mailbox is dead."""
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
    # A failure with the status of a success says nothing.
    is_status = block.status.startswith(("4", "5"))
    return Found(_of_status(block.status, block.diagnostic), None) if is_status else None


def _with_status(reply: Reply, written: str) -> Reply:
    """Add the reporting system's status to a reply without one of its own, if they agree.

    Sendmail calls every 550 a 5.1.1 and every 552 a 5.2.2: that counts where the words of the reply
    say so, too, or there are none.
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
    """Return what a bounce says in words alone."""
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
    # A reason below several recipients may be of another one, unless nothing is said of this one.
    is_of_all = is_only or not _is_explained(name)
    of_all = mail.text if is_of_all else mail.above
    found = own or prose.reply_in(of_all) or _row_in(of_all)
    if found is not None and found.phase is None and is_only:
        found = found._replace(phase=prose.phase_in(mail.text))
    verdict = Verdict.DELAYED if mail.is_delay else verdict_on(found, is_first_hand=False)
    # What is said below a list is of any of them.
    is_shared = before is not None and not _is_explained(before) and mail.count(name.address) == 1
    is_own = is_only or (own is not None and not is_shared)
    is_of_it = mail.is_of_system and mail.names(name.address) and is_own
    if verdict is Verdict.DEAD and not is_of_it:
        verdict = Verdict.MAYBE
    yield _report(mail, name.address, found, verdict)
    if name.original:
        yield _report(mail, name.original, found, _of_forwarder(verdict))


def _is_explained(name: Named) -> bool:
    """Return whether something is said of a recipient beside the address."""
    return len(name.said) >= len(name.address) + 20


def _row_in(text: str) -> Found | None:
    row = vendors.reply_of(text)
    return Found(row[1], row[0]) if row is not None else None


def verdict_on(found: Found | None, *, is_first_hand: bool) -> Verdict:
    """Return what a reply comes to; `is_first_hand` of one that the reporting system gave itself.

    Words without a code are of the mailbox only if RCPT is known to be what was answered.
    """
    if found is None:
        return Verdict.OTHER
    outcome = replies.classify(found.phase or Phase.RCPT, found.reply)
    verdict = _MEANINGS.get(outcome.reaction) or _without_reaction(outcome)
    said = _meaning_of(found.reply.text)
    if verdict is Verdict.DEAD:
        return _doubted(said, found.reply)
    if verdict is Verdict.MAYBE and not is_first_hand and found.phase is None:
        # Words without a code: of the mailbox only if RCPT is known to be what was answered.
        return verdict if said in {Verdict.DEAD, Verdict.MAYBE} else Verdict.OTHER
    is_of_mail = verdict is Verdict.OURS and outcome.reaction in _OF_MAIL
    if is_of_mail or verdict in {Verdict.OTHER, Verdict.LATER}:
        return _explained(verdict, said, found.reply)
    return verdict


def _doubted(said: Verdict | None, reply: Reply) -> Verdict:
    """Return what a status of a dead address means with its words, which may say something else."""
    if said is None:
        return Verdict.DEAD
    is_of_host = reply.enhanced == "5.4.4"
    return Verdict.MAYBE if said is Verdict.LATER and not is_of_host else said


def _explained(verdict: Verdict, said: Verdict | None, reply: Reply) -> Verdict:
    """Return what a reply without a fitting status means by its words: never a dead address."""
    if said is Verdict.FULL:
        return said
    if said in {Verdict.DEAD, Verdict.MAYBE} and reply.code >= 500:
        return Verdict.MAYBE
    return said if said is not None and verdict is Verdict.OTHER else verdict


def _meaning_of(text: str) -> Verdict | None:
    """Return what the words of a reply mean by themselves; None if they are not known."""
    row = vendors.reply_of(text)
    if row is None:
        return None
    outcome = replies.classify(*row)
    return _MEANINGS.get(outcome.reaction) or _without_reaction(outcome)


#: Reactions to replies about a mail, which some systems give for a mailbox, too.
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
