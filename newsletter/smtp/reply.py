"""Classifies replies: phase, code and text in, an outcome out. Pure: no I/O, no clock.

The first digit of the basic code decides between transient and permanent (RFC 5321 4.2.1); the
enhanced code (RFC 3463) decides whether reader, domain or relay is concerned. An unknown reply is
interpreted with care: the message is tried again, and no address is suppressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction, Scope

#: Maximum characters of a reply that are kept.
TEXT_LIMIT = 400
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:[\s:;,]|$)")
# Multi-line replies repeat the enhanced code at the start of every line (RFC 2034 4).
_REPEATED = re.compile(r"\n[245]\.\d{1,3}\.\d{1,3}\s")
_LEADING = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\s")
# Removed before a text is searched: an address or a URL may contain "rate" or "spam".
# Sendmail writes "user@example.org... User unknown", some without the blank.
_NAMES = re.compile(r"<[^>]{0,400}>|[^\s<>]{1,320}@(?:[^\s<>.]|\.(?!\.))+|https?://\S+", re.I)
#: Maximum characters of a reply that are searched.
_READ_LIMIT = 4_000
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
# Rate limits on us as the sender, in the words of the large providers, some with code 550. Gmail:
# "unusual rate", "Daily user sending limit exceeded"; Yahoo: [TS01] to [TS03], [TSS04] to [TSS11];
# Outlook: "exceeded the rate limit", RP-001; iCloud: "too many messages".
_LIMIT = re.compile(
    r"\brate\b|\b(?:daily|hourly|sending|message)\b.*\b(?:limit|quota)"
    r"|too (?:many|much) (?:mess|mail)|temporarily deferred|throttl"
    r"|\[TSS?0\d\]|\[TSS1[01]\]|\bRP-00[1-3]\b",
    re.I,
)
# Limits per connection: reconnecting is enough.
_PER_CONNECTION = re.compile(r"(?:this|per) (?:connection|session)|shutting down", re.I)
# Phrases about one reader or mailbox, which are no rate limits on us.
_GREYLIST = re.compile(r"gr[ae]y.?list|come back|try again in \d+ (?:sec|min)", re.I)
# Postfix puts "Recipient address rejected" before the text of any policy.
_RECIPIENT_RATE = re.compile(
    r"user you are trying to contact|recipient(?! address rejected).*\brate\b", re.I
)
_FULL = re.compile(
    r"\bfull\b|quota|out of storage|storage (?:space|limit)|insufficient space", re.I
)
_SIZE = re.compile(r"too (?:large|big)|\bsize\b", re.I)
# Yahoo's reply for a missing mailbox, which has no enhanced code ("delivery error: dd This user
# doesn't have an account").
_NO_ACCOUNT = re.compile(r"\bdd (?:this user doesn't have|not a valid recipient)", re.I)
# Phrases for a missing mailbox in replies with other codes. "Mailbox unavailable" counts only with
# Outlook's number, because RFC 5321 4.2.3 uses the phrase for policies, too.
_NO_SUCH_USER = re.compile(
    r"no such (?:user|mailbox|recipient)|unknown (?:user|recipient|mailbox)|does(?:n't| not) exist"
    r"|no mailbox (?:here )?by that name|no such (?:address|account)|deactivated mailbox"
    r"|(?:user|recipient|mailbox|addressee) (?:is )?(?:unknown|not found|disabled|inactive)"
    r"|(?:benutzer|empf(?:ä|ae)nger|postfach) (?:ist )?(?:unbekannt|nicht gefunden)"
    r"|(?:utilisateur|destinataire|adresse) (?:est )?(?:inconnue?|inexistante?)"
    r"|(?:usuario|destinatario|utente|casella) (?:desconocido|inexistente|sconosciut[oa])"
    r"|mailbox unavailable \(S2017062302\)"
    r"|(?<!too many )invalid (?:recipient|mailbox)|recipient address rejected: access denied",
    re.I,
)
# Phrases of spam filters, after which no code means that the address is dead. SC-001, DY-001 and
# OU-001 are Outlook's block lists.
_FILTERED = re.compile(
    r"spam|block(?:ed|list)|blacklist|polic(?:y|ies)|reputation|unsolicited"
    r"|\b(?:SC|DY|OU)-00\d\b",
    re.I,
)
# Phrases about the envelope sender, which some servers check only at RCPT.
_SENDER = re.compile(
    r"sender address rejected|domain of sender|sender (?:domain|verif)|invalid dns mx"
    r"|\bsender\b.{0,80}\b(?:rejected|invalid|syntax error|null mx|not exist)",
    re.I,
)
# Older versions of Outlook use this text for a missing mailbox, with the code 5.5.0.
_UNAVAILABLE = re.compile(r"mailbox unavailable", re.I)
# The relay does not relay for us, or not yet.
_NOT_FOR_US = re.compile(
    r"relay(?:ing)? (?:access )?(?:is )?(?:denied|prohibited|not (?:permitted|allowed))"
    r"|(?:unable|not (?:permitted|allowed)) to relay|client host rejected"
    r"|authentication (?:is )?required|must (?:be )?authenticate"
    r"|not (?:been )?verified|match a verified sender",
    re.I,
)
# The relay quotes another server (address verification).
_SECOND_HAND = re.compile(r"\bsaid:|unverified address|address verification", re.I)
# Outlook's codes for a busy server, or a rate limit on our IP address (4.7.500 to 4.7.699).
_BUSY = re.compile(r"7\.[56]\d\d")
#: Codes for missing or wrong authentication or encryption.
_CREDENTIALS = frozenset({530, 534, 535, 538})
#: Codes for commands that the server does not support, or does not accept at this point.
_CONVERSATION = frozenset({500, 502, 503, 504, 555})
#: Those codes of _CONVERSATION that do not depend on the address in the command.
_OUT_OF_STEP = frozenset({500, 502, 503})
#: Bad sender's mailbox or system (RFC 3463 3.2).
_OUR_ADDRESS = frozenset({"1.7", "1.8"})
#: Enhanced codes of dead addresses: no such mailbox, no such host, bad syntax, mailbox moved, host
#: that accepts no mail (RFC 7505), no route.
_DEAD = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "4.4"})
_LARGE = frozenset({"2.3", "3.4"})
#: The server does not accept an internationalised address (RFC 6531 3.4).
_NOT_ASCII = "6.7"
#: Advice by enhanced code for authentication that domains require (RFC 7372; Gmail's guidelines).
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
    # Outlook's rules for bulk senders.
    "7.509": "DMARC: SPF or DKIM must pass for the domain of NEWSLETTER_SENDER",
    "7.515": "SPF, DKIM and DMARC: all three must pass for the domain of NEWSLETTER_SENDER",
}


class Reply(NamedTuple):
    """One reply of the server, its lines joined by newlines."""

    code: int
    text: str

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code at the start of the text (RFC 2034), if there is one."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else None

    @property
    def words(self) -> str:
        """The text to keep: printable, shortened, and without enhanced codes."""
        if "\n" in self.text:
            return _legible(_REPEATED.sub(" ", "\n" + self.text))
        leading = _LEADING.match(self.text)
        return _legible(self.text[leading.end() :] if leading else self.text)


def classify(phase: Phase, reply: Reply) -> Outcome:
    """Return the outcome of a `reply` in `phase`."""
    kind, scope, reaction = _decide(phase, reply)
    return Outcome(kind, phase, scope, reply.code, reply.enhanced, reply.words, reaction)


def lost(phase: Phase, reason: str) -> Outcome:
    """Return the outcome of a disconnect or a time-out in `phase`.

    Before the first octet of the message, the try is not charged to the reader. After it, the
    outcome is unknown: whether the server has accepted the message cannot be determined (RFC 1047).
    """
    if phase is Phase.BODY:
        return Outcome(Kind.UNKNOWN, phase, Scope.READER, text=_legible(reason))
    return Outcome(Kind.DEFERRED, phase, Scope.CONNECTION, text=_legible(reason))


def advice(outcome: Outcome) -> str:
    """Return the record or setting of ours that a refusal is about; empty if there is none."""
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


_UNEXPECTED = _Meaning(Kind.DEFERRED, Scope.CONNECTION)
_CLOSING = _Meaning(Kind.DEFERRED, Scope.CONNECTION)
_LATER = _Meaning(Kind.DEFERRED, Scope.READER)
_NEVER = _Meaning(Kind.REFUSED, Scope.READER)
_RATE_LIMITED = _Meaning(Kind.DEFERRED, Scope.DOMAIN, Reaction.PAUSE)
_OUR_FAULT = _Meaning(Kind.DEFERRED, Scope.RELAY, Reaction.STOP)


#: Codes of greeting and closing (RFC 5321 4.2.3), neither of which accepts a message.
_NOT_ACCEPTING = {220, 221}


def _decide(phase: Phase, reply: Reply) -> _Meaning:
    code = reply.code
    if 200 <= code < 300 and phase is Phase.BODY and code not in _NOT_ACCEPTING:
        return _Meaning(Kind.ACCEPTED, Scope.READER)
    if not 400 <= code < 600:
        # The reply does not belong to this command: commands and replies are out of step.
        return _Meaning(Kind.UNKNOWN, Scope.READER) if phase is Phase.BODY else _UNEXPECTED
    refusal = _Refusal(phase, code, (reply.enhanced or "").partition(".")[2], _words_of(reply.text))
    is_of_mail = phase is Phase.MAIL and refusal.is_of_this_mail
    if phase is Phase.MAIL and not is_of_mail:
        # The server does not have the recipient yet, so the refusal is about us.
        return _OUR_FAULT if code >= 500 else _CLOSING
    rules = _PERMANENT if code >= 500 else _TRANSIENT
    return next(meaning for holds, meaning in rules if holds(refusal))


class _Refusal(NamedTuple):
    """A 4xx or 5xx reply; `status` is the enhanced code without its class: 1.1 of 5.1.1."""

    phase: Phase
    code: int
    status: str
    text: str

    def has(self, words: re.Pattern[str]) -> bool:
        return words.search(self.text) is not None

    @property
    def is_limit(self) -> bool:
        """Whether the reply is a rate limit on us, not on the recipient."""
        return self.has(_LIMIT) and not (self.has(_GREYLIST) or self.has(_RECIPIENT_RATE))

    @property
    def is_of_this_mail(self) -> bool:
        """Whether MAIL was refused permanently for this message's size or need of SMTPUTF8."""
        if self.code < 500:
            return False
        is_large = self.status in _LARGE or (self.code == 552 and self.has(_SIZE))
        return is_large or self.status == _NOT_ASCII

    @property
    def is_dead(self) -> bool:
        """Whether the address does not exist; False if the command was not understood."""
        return self.code == 556 or (self.status in _DEAD and self.code not in _CONVERSATION)

    @property
    def is_ours(self) -> bool:
        """Whether our set-up is at fault, whoever the recipient is."""
        if self.code in _CREDENTIALS or self.status in _OUR_ADDRESS:
            return True
        is_first_hand = not self.has(_SECOND_HAND)
        if self.status == "4.5" or (is_first_hand and (self.has(_SENDER) or self.has(_NOT_FOR_US))):
            # Our account's quota, an envelope sender that the server rejects, or no relaying for
            # us.
            return True
        # To RCPT, 5.5.x is about the address: some servers use 550 5.5.0 for a missing mailbox and
        # 501 5.5.2 for bad syntax. One reader's address must not stop all mail.
        if self.phase is Phase.RCPT:
            return self.code in _OUT_OF_STEP
        is_malformed = self.code == 554 and "malformed" in self.text.lower()
        is_odd = self.code in _CONVERSATION or self.status.startswith("5.")
        return is_odd or self.status == "6.0" or is_malformed


_Table = Sequence[tuple[Callable[[_Refusal], bool], _Meaning]]
#: Meanings of a 4xx reply to RCPT, DATA or the message; the first rule that holds applies.
_TRANSIENT: _Table = (
    (lambda refusal: refusal.status in _SETUP or refusal.status == "7.28", _RATE_LIMITED),
    (lambda refusal: refusal.code == 421 and refusal.has(_PER_CONNECTION), _CLOSING),
    (lambda refusal: refusal.has(_GREYLIST) or refusal.has(_RECIPIENT_RATE), _LATER),
    # Precedes is_limit, because "over quota" is also used for full mailboxes.
    (lambda refusal: refusal.status == "2.2", _LATER._replace(reaction=Reaction.COUNT)),
    (lambda refusal: refusal.status == "7.0" or refusal.is_limit, _RATE_LIMITED),
    (lambda refusal: _BUSY.fullmatch(refusal.status) is not None, _RATE_LIMITED),
    # RFC 5321 3.8: the server closes the connection without executing the command.
    (lambda refusal: refusal.code == 421, _CLOSING._replace(reaction=Reaction.SLOW)),
    (
        lambda refusal: refusal.status == "2.1" or refusal.has(_FULL),
        _LATER._replace(reaction=Reaction.COUNT),
    ),
    (
        lambda refusal: refusal.status.startswith(("3.", "4.")),
        _LATER._replace(reaction=Reaction.SLOW),
    ),
    (
        lambda refusal: refusal.code == 450 and not refusal.status,
        _LATER._replace(reaction=Reaction.SLOW),
    ),
    (lambda _: True, _LATER),
)
#: Meanings of a 5xx reply to the same commands; the first rule that holds applies. The delivery
#: ends as refused, unless our set-up or rate is at fault.
_PERMANENT: _Table = (
    (lambda refusal: refusal.is_ours, _OUR_FAULT),
    # A rate limit on the recipient for all senders has no consequence for address or domain.
    (lambda refusal: refusal.has(_RECIPIENT_RATE), _NEVER),
    # This delivery is refused; the domain is paused for all others.
    (lambda refusal: refusal.status in _SETUP, _NEVER._replace(reaction=Reaction.PAUSE)),
    (lambda refusal: refusal.status in _LARGE, _NEVER._replace(reaction=Reaction.ALARM)),
    (lambda refusal: refusal.status == "2.2", _NEVER._replace(reaction=Reaction.COUNT)),
    (
        lambda refusal: refusal.code == 552 and refusal.has(_SIZE),
        _NEVER._replace(reaction=Reaction.ALARM),
    ),
    (lambda refusal: refusal.status in {"", "7.0", "7.1"} and refusal.is_limit, _RATE_LIMITED),
    (lambda refusal: refusal.status == "7.28", _RATE_LIMITED),
    (lambda refusal: refusal.status.startswith("7."), _NEVER._replace(reaction=Reaction.BREAK)),
    (
        lambda refusal: (refusal.code == 552 or not refusal.status) and refusal.has(_FULL),
        _NEVER._replace(reaction=Reaction.COUNT),
    ),
    (lambda refusal: refusal.has(_FILTERED), _NEVER._replace(reaction=Reaction.BREAK)),
    (lambda refusal: refusal.is_dead, _NEVER._replace(reaction=Reaction.SUPPRESS)),
    (lambda refusal: refusal.has(_NO_ACCOUNT), _NEVER._replace(reaction=Reaction.SUPPRESS)),
    (
        lambda refusal: refusal.status == "2.1" or refusal.has(_NO_SUCH_USER),
        _NEVER._replace(reaction=Reaction.SUSPECT),
    ),
    (
        lambda refusal: refusal.status.startswith("5.") and refusal.has(_UNAVAILABLE),
        _NEVER._replace(reaction=Reaction.SUSPECT),
    ),
    (lambda _: True, _NEVER),
)


def _words_of(text: str) -> str:
    """Return the text to search, without addresses and URLs."""
    return _NAMES.sub(" ", text[:_READ_LIMIT])


def _legible(text: str) -> str:
    """Return a server's text in a form that can be stored and shown."""
    return _UNPRINTABLE.sub(" ", text).strip()[:TEXT_LIMIT]
