"""What a reply means: phase, code and text in, an outcome out. Pure: no I/O, no clock.

The first digit of the basic code decides between transient and permanent (RFC 5321 4.2.1); the
enhanced code (RFC 3463) says whose fault it is. Whatever is not known here falls on the careful
side: nothing is lost, nobody is blamed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

#: What is kept of a reply's text, in characters.
TEXT_LIMIT = 400
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:[\s:;,]|$)")
# Multi-line replies repeat the enhanced code at the start of every line (RFC 2034 4).
_REPEATED = re.compile(r"\n[245]\.\d{1,3}\.\d{1,3}\s")
_LEADING = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\s")
# No words of the server's: anybody can have an address with "rate" or "spam" in it.
_NAMES = re.compile(r"<[^>]{0,400}>|[^\s<>]{1,320}@[^\s<>]+|https?://\S+", re.I)
#: Of an endless reply, so much is looked at.
_READ_LIMIT = 4_000
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
# How servers say that we, not the reader, have sent too much: the large providers' own words. They
# use 550 for it, too. Gmail: "unusual rate", "Daily user sending limit exceeded"; Yahoo: [TS01] to
# [TS03], [TSS04] to [TSS11]; Outlook: "exceeded the rate limit", RP-001; iCloud: "too many
# messages".
_LIMIT = re.compile(
    r"\brate\b|\b(?:daily|hourly|sending|message)\b.*\b(?:limit|quota)"
    r"|too (?:many|much) (?:mess|mail)|temporarily deferred|throttl"
    r"|\[TSS?0\d\]|\[TSS1[01]\]|\bRP-00[1-3]\b",
    re.I,
)
# Some take so many messages on a connection and then leave: to reconnect is all they want.
_PER_CONNECTION = re.compile(r"(?:this|per) (?:connection|session)|shutting down", re.I)
# Said to one reader, and about that reader's mailbox: never to be taken for a limit of ours.
_GREYLIST = re.compile(r"gr[ae]y.?list|come back|try again in \d+ (?:sec|min)", re.I)
# Postfix says "Recipient address rejected" before whatever its policy says.
_RECIPIENT_RATE = re.compile(
    r"user you are trying to contact|recipient(?! address rejected).*\brate\b", re.I
)
_FULL = re.compile(
    r"\bfull\b|quota|out of storage|storage (?:space|limit)|insufficient space", re.I
)
_SIZE = re.compile(r"too (?:large|big)|\bsize\b", re.I)
# Yahoo has no enhanced code for it ("delivery error: dd This user doesn't have an account").
_NO_ACCOUNT = re.compile(r"\bdd (?:this user doesn't have|not a valid recipient)", re.I)
# That there is no such mailbox, in words alone or under a code that says something else. Not
# "mailbox unavailable", which RFC 5321 4.2.3 has for a policy, too, but with Outlook's number.
_NOBODY = re.compile(
    r"no such (?:user|mailbox|recipient)|unknown (?:user|recipient|mailbox)|does(?:n't| not) exist"
    r"|(?:user|recipient|mailbox) (?:is )?(?:unknown|not found|disabled|inactive)"
    r"|mailbox unavailable \(S2017062302\)"
    r"|(?<!too many )invalid (?:recipient|mailbox)|recipient address rejected: access denied",
    re.I,
)
# A filter's words: whatever code stands before them, they do not say that the address is dead.
# Outlook's block lists: SC-001, DY-001, OU-001 and so on.
_FILTERED = re.compile(
    r"spam|block(?:ed|list)|blacklist|polic(?:y|ies)|reputation|unsolicited"
    r"|\b(?:SC|DY|OU)-00\d\b",
    re.I,
)
# The envelope sender, which is ours; servers say so as late as in the answer to RCPT.
_SENDER = re.compile(
    r"sender address rejected|domain of sender|sender (?:domain|verif)|invalid dns mx"
    r"|\bsender\b.{0,80}\b(?:rejected|invalid|syntax error|null mx|not exist)",
    re.I,
)
# Under 5.5.0, Outlook's older words for nobody.
_UNAVAILABLE = re.compile(r"mailbox unavailable", re.I)
# What a relay says to those for whom it does not relay, or not yet.
_NOT_FOR_US = re.compile(
    r"relay(?:ing)? (?:access )?(?:is )?(?:denied|prohibited|not (?:permitted|allowed))"
    r"|(?:unable|not (?:permitted|allowed)) to relay|client host rejected"
    r"|authentication (?:is )?required|must (?:be )?authenticate"
    r"|not (?:been )?verified|match a verified sender",
    re.I,
)
# What another server has said to the relay while it looked whether there is such a reader.
_SECOND_HAND = re.compile(r"\bsaid:|unverified address|address verification", re.I)
# How Outlook says that it is busy, or has had enough of an address (4.7.500 to 4.7.699).
_BUSY = re.compile(r"7\.[56]\d\d")
#: Authentication or encryption is missing or wrong: the credentials are ours.
_CREDENTIALS = frozenset({530, 534, 535, 538})
#: Commands that the server does not know, or not here: the conversation is ours.
_CONVERSATION = frozenset({500, 502, 503, 504, 555})
#: A command that the server does not know, or not now, whomever it names.
_OUT_OF_STEP = frozenset({500, 502, 503})
#: Bad sender's mailbox or system (RFC 3463 3.2): ours.
_OUR_ADDRESS = frozenset({"1.7", "1.8"})
#: No such mailbox, no such host, bad syntax, moved, takes no mail (RFC 7505), no route.
_DEAD = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "4.4"})
_LARGE = frozenset({"2.3", "3.4"})
#: An internationalised address that this server does not take (RFC 6531 3.4): the reader's.
_NOT_ASCII = "6.7"
#: What a domain asks of senders, and what to look at (RFC 7372; Gmail's sender guidelines).
_SETUP = {
    "7.20": "DKIM: sign with the domain of NEWSLETTER_SENDER",
    "7.21": "DKIM: sign with the domain of NEWSLETTER_SENDER",
    "7.22": "DKIM: sign with the domain of NEWSLETTER_SENDER",
    "7.23": "SPF, and the reverse DNS (PTR) of the address that the mail comes from",
    "7.24": "SPF: the TXT record of the envelope sender's domain",
    "7.25": "reverse DNS: a PTR record that leads back to the address",
    "7.26": "SPF and DKIM: at least one must pass, for the domain of NEWSLETTER_SENDER",
    "7.27": "SPF: the TXT record of the envelope sender's domain must name the relay",
    "7.29": "TLS: the relay must use STARTTLS to that domain",
    "7.30": "DKIM: the signature does not pass; look at its key in the DNS",
    "7.31": "DMARC: publish a record _dmarc in the sender's domain",
    "7.32": "DMARC: the From domain must be that of SPF or of DKIM",
    "7.40": "DMARC: publish a record _dmarc in the sender's domain",
    # Outlook's rules for those who send much.
    "7.509": "DMARC: SPF or DKIM must pass for the domain of NEWSLETTER_SENDER",
    "7.515": "SPF, DKIM and DMARC: all three must pass for the domain of NEWSLETTER_SENDER",
}


class Phase(StrEnum):
    """How far the conversation had come: it alone tells a safe loss from an uncertain one."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    #: From the first octet of the message to the reply to its final dot.
    BODY = "body"


class Kind(StrEnum):
    """What became of one try."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """Whom an outcome concerns. Only `reader` is charged to the reader."""

    READER = "reader"
    CONNECTION = "connection"
    #: Everyone whose address has the same domain.
    DOMAIN = "domain"
    RUN = "run"


class Reaction(StrEnum):
    """What is to be done besides what happens to the delivery."""

    NOTHING = "nothing"
    #: The address is dead: never mail it again.
    SUPPRESS = "suppress"
    #: It may be dead: suppress it if that is said again on another day.
    SUSPECT = "suspect"
    #: The mailbox is full: a soft failure, counted.
    COUNT = "count"
    #: The destination has trouble: fewer at a time.
    SLOW = "slow"
    #: The destination has had enough of us: nothing for a while, then one at a time.
    PAUSE = "pause"
    #: The policy of a destination: if it says so to everyone, stop sending to it.
    BREAK = "break"
    #: Every reader's mail may share the fault: tell the operator.
    ALARM = "alarm"
    #: Every further try would fail the same way: end the run and tell the operator.
    STOP = "stop"


class Reply(NamedTuple):
    """One reply of the server, its lines joined."""

    code: int
    text: str

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code at the start of the text (RFC 2034), if there is one."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else None

    @property
    def words(self) -> str:
        """The text without its repeated codes, printable and short enough to keep."""
        if "\n" in self.text:
            return _legible(_REPEATED.sub(" ", "\n" + self.text))
        leading = _LEADING.match(self.text)
        return _legible(self.text[leading.end() :] if leading else self.text)


class Outcome(NamedTuple):
    """What one try came to."""

    kind: Kind
    phase: Phase
    scope: Scope = Scope.READER
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    reaction: Reaction = Reaction.NOTHING

    @property
    def is_charged(self) -> bool:
        """Tell whether this try counts against the reader's deliveries."""
        return self.scope is Scope.READER


def classify(phase: Phase, reply: Reply) -> Outcome:
    """Return what `reply` means when it answers `phase`."""
    kind, scope, reaction = _decide(phase, reply)
    return Outcome(kind, phase, scope, reply.code, reply.enhanced, reply.words, reaction)


def lost(phase: Phase, reason: str) -> Outcome:
    """Return what a disconnect or a time-out in `phase` means.

    Before the message left, nobody is charged. After its final dot nobody can know (RFC 1047).
    """
    if phase is Phase.BODY:
        return Outcome(Kind.UNKNOWN, phase, Scope.READER, text=_legible(reason))
    return Outcome(Kind.DEFERRED, phase, Scope.CONNECTION, text=_legible(reason))


def advice(outcome: Outcome) -> str:
    """Return which of our own records or settings a refusal asks for; empty if it asks for none."""
    status = (outcome.enhanced or "").partition(".")[2]
    words = _words_of(outcome.text)
    if status in _SETUP:
        return _SETUP[status]
    if outcome.reaction is Reaction.ALARM or status in _LARGE:
        return "the size of the mail: the server takes none that is as large"
    if outcome.code in _CREDENTIALS:
        return "the user, the password and the encryption in NEWSLETTER_SMTP_URL"
    if status in _OUR_ADDRESS or _SENDER.search(words):
        return "the envelope sender: NEWSLETTER_RETURN_PATH, or NEWSLETTER_SENDER"
    if _NOT_FOR_US.search(words):
        return (
            "what the relay asks of its users: NEWSLETTER_SMTP_URL with a user and a password, "
            "and a NEWSLETTER_SENDER that it knows"
        )
    is_limit = status == "4.5" or (outcome.reaction is Reaction.STOP and _LIMIT.search(words))
    return "how much the relay lets you send: NEWSLETTER_LIMIT_PER_DAY" if is_limit else ""


class _Meaning(NamedTuple):
    kind: Kind
    scope: Scope
    reaction: Reaction = Reaction.NOTHING


_NONSENSE = _Meaning(Kind.DEFERRED, Scope.CONNECTION)
_LEAVES = _Meaning(Kind.DEFERRED, Scope.CONNECTION)
_LATER = _Meaning(Kind.DEFERRED, Scope.READER)
_NEVER = _Meaning(Kind.REFUSED, Scope.READER)
_TOO_MUCH = _Meaning(Kind.DEFERRED, Scope.DOMAIN, Reaction.PAUSE)
_OURS = _Meaning(Kind.DEFERRED, Scope.RUN, Reaction.STOP)


#: A greeting and a goodbye (RFC 5321 4.2.3) take responsibility for no message.
_FAREWELLS = {220, 221}


def _decide(phase: Phase, reply: Reply) -> _Meaning:
    code = reply.code
    if 200 <= code < 300 and phase is Phase.BODY and code not in _FAREWELLS:
        return _Meaning(Kind.ACCEPTED, Scope.READER)
    if not 400 <= code < 600:
        # It answers no question that was asked: the conversation makes no sense any more.
        return _Meaning(Kind.UNKNOWN, Scope.READER) if phase is Phase.BODY else _NONSENSE
    said = _Said(phase, code, (reply.enhanced or "").partition(".")[2], _words_of(reply.text))
    if phase in {Phase.CONNECT, Phase.MAIL} and not (phase is Phase.MAIL and said.is_of_this_mail):
        # What is said before the recipient is named is about us.
        return _OURS if code >= 500 else _LEAVES
    if code >= 500:
        return next(meaning for holds, meaning in _PERMANENT if holds(said))
    return next(meaning for holds, meaning in _TRANSIENT if holds(said))


class _Said(NamedTuple):
    """A refusal; `status` is the enhanced code without its class: 1.1 of 5.1.1."""

    phase: Phase
    code: int
    status: str
    text: str

    def has(self, words: re.Pattern[str]) -> bool:
        return words.search(self.text) is not None

    @property
    def is_limit(self) -> bool:
        """Whether we have sent too much, and not the reader had too much sent."""
        return self.has(_LIMIT) and not (self.has(_GREYLIST) or self.has(_RECIPIENT_RATE))

    @property
    def is_of_this_mail(self) -> bool:
        """Whether it is refused, for good, for what MAIL says of the message or its recipient."""
        if self.code < 500:
            return False
        is_large = self.status in _LARGE or (self.code == 552 and self.has(_SIZE))
        return is_large or self.status == _NOT_ASCII

    @property
    def is_dead(self) -> bool:
        """Whether there is no such address; not where the command was not understood."""
        return self.code == 556 or (self.status in _DEAD and self.code not in _CONVERSATION)

    @property
    def is_ours(self) -> bool:
        """Whether it is for us to mend, whoever the recipient is."""
        if self.code in _CREDENTIALS or self.status in _OUR_ADDRESS:
            return True
        is_first_hand = not self.has(_SECOND_HAND)
        if self.status == "4.5" or (is_first_hand and (self.has(_SENDER) or self.has(_NOT_FOR_US))):
            # More than our account may send; a sender that the server does not believe in; or a
            # server that does not relay for us at all.
            return True
        # To RCPT, 5.5.x is about the address: 550 5.5.0 is how some say that a mailbox does not
        # exist, 501 5.5.2 that an address is odd. What a stranger gave must not stop the others.
        if self.phase is Phase.RCPT:
            return self.code in _OUT_OF_STEP
        is_malformed = self.code == 554 and "malformed" in self.text.lower()
        is_odd = self.code in _CONVERSATION or self.status.startswith("5.")
        return is_odd or self.status == "6.0" or is_malformed


_Rules = Sequence[tuple[Callable[[_Said], bool], _Meaning]]
#: What a 4xx means that answers RCPT, DATA or the message: the first that holds.
_TRANSIENT: _Rules = (
    (lambda said: said.status in _SETUP or said.status == "7.28", _TOO_MUCH),
    (lambda said: said.code == 421 and said.has(_PER_CONNECTION), _LEAVES),
    (lambda said: said.has(_GREYLIST) or said.has(_RECIPIENT_RATE), _LATER),
    # "Over its quota" is said of a mailbox, too.
    (lambda said: said.status == "2.2", _LATER._replace(reaction=Reaction.COUNT)),
    (lambda said: said.status == "7.0" or said.is_limit, _TOO_MUCH),
    (lambda said: _BUSY.fullmatch(said.status) is not None, _TOO_MUCH),
    # RFC 5321 3.8: the server closes the channel; the command was not carried out.
    (lambda said: said.code == 421, _LEAVES._replace(reaction=Reaction.SLOW)),
    (
        lambda said: said.status == "2.1" or said.has(_FULL),
        _LATER._replace(reaction=Reaction.COUNT),
    ),
    (lambda said: said.status.startswith(("3.", "4.")), _LATER._replace(reaction=Reaction.SLOW)),
    (lambda said: said.code == 450 and not said.status, _LATER._replace(reaction=Reaction.SLOW)),
    (lambda _: True, _LATER),
)
#: What a 5xx means that answers one of them: the first that holds. After it, that mail goes to that
#: reader never again, unless we alone were at fault.
_PERMANENT: _Rules = (
    (lambda said: said.is_ours, _OURS),
    # Others have sent too much to this reader: that says nothing about anybody.
    (lambda said: said.has(_RECIPIENT_RATE), _NEVER),
    # It stands for this reader and mail; what stops is the sending to everyone else there.
    (lambda said: said.status in _SETUP, _NEVER._replace(reaction=Reaction.PAUSE)),
    (lambda said: said.status in _LARGE, _NEVER._replace(reaction=Reaction.ALARM)),
    (lambda said: said.code == 552 and said.has(_SIZE), _NEVER._replace(reaction=Reaction.ALARM)),
    (lambda said: said.status in {"", "7.0", "7.1"} and said.is_limit, _TOO_MUCH),
    (lambda said: said.status == "7.28", _TOO_MUCH),
    (lambda said: said.status.startswith("7."), _NEVER._replace(reaction=Reaction.BREAK)),
    (lambda said: said.status == "2.2", _NEVER._replace(reaction=Reaction.COUNT)),
    (
        lambda said: (said.code == 552 or not said.status) and said.has(_FULL),
        _NEVER._replace(reaction=Reaction.COUNT),
    ),
    (lambda said: said.has(_FILTERED), _NEVER._replace(reaction=Reaction.BREAK)),
    (lambda said: said.is_dead, _NEVER._replace(reaction=Reaction.SUPPRESS)),
    (lambda said: said.has(_NO_ACCOUNT), _NEVER._replace(reaction=Reaction.SUPPRESS)),
    (
        lambda said: said.status == "2.1" or said.has(_NOBODY),
        _NEVER._replace(reaction=Reaction.SUSPECT),
    ),
    (
        lambda said: said.status.startswith("5.") and said.has(_UNAVAILABLE),
        _NEVER._replace(reaction=Reaction.SUSPECT),
    ),
    (lambda _: True, _NEVER),
)


def _words_of(text: str) -> str:
    """Return what a server says in its own words, without the names in it."""
    return _NAMES.sub(" ", text[:_READ_LIMIT])


def _legible(text: str) -> str:
    """Return what can be kept and shown of a stranger's text."""
    return _UNPRINTABLE.sub(" ", text).strip()[:TEXT_LIMIT]
