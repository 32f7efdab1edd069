"""The complete list of events that are logged, from which docs/logs.md is generated.

Names and fields are stable. No field contains an address, a token or text of a message; readers are
counted, never named.
"""

from __future__ import annotations

from newsletter.logs.event import DEBUG, ERROR, INFO, WARNING, Event
from newsletter.logs.lines import MESSAGE, TRACE

_SAID = "the same in words, with what to do"
_REPLY = "what the server said, masked"
_CODE = "the basic code of an SMTP reply (RFC 5321), if there was one"
_EDITION = "the name of the edition, such as daily-2026-11-30"

# Editions
EDITION_FROZEN = Event(
    "edition.frozen",
    INFO,
    "An edition was made: what goes to whom is fixed.",
    edition=_EDITION,
    audience="readers who get it",
    variants="different mails",
)
EDITION_SKIPPED = Event(
    "edition.skipped",
    INFO,
    "A period has no edition.",
    edition=_EDITION,
    **{MESSAGE: "why"},
)
EDITION_FINISHED = Event(
    "edition.finished", INFO, "No delivery of an edition is open any more.", edition=_EDITION
)
EDITION_PAUSED = Event(
    "edition.paused",
    WARNING,
    "Nothing more of an edition is sent until it is resumed.",
    edition=_EDITION,
    by="operator or alarm",
    **{MESSAGE: "why, if an alarm paused it"},
)
EDITION_RESUMED = Event("edition.resumed", INFO, "A paused edition goes on.", edition=_EDITION)
EDITION_CANCELLED = Event(
    "edition.cancelled",
    WARNING,
    "Nothing more of an edition is sent.",
    edition=_EDITION,
    **{MESSAGE: "why"},
)
EDITION_EXPIRED = Event(
    "edition.expired",
    WARNING,
    "What was left of an edition is given up: it is staler than its cadence.",
    edition=_EDITION,
)
EDITION_CORRECTED = Event(
    "edition.corrected",
    INFO,
    "A correction was queued for readers of an edition.",
    edition=_EDITION,
    audience="readers who get it",
)
EDITION_FAILED = Event(
    "edition.failed",
    WARNING,
    "An edition that is due could not be made.",
    **{MESSAGE: _SAID},
)

# Letters, and actions of readers
LETTER_ASKED = Event(
    "letter.asked", INFO, "A letter to one reader was queued.", kind="confirm, welcome, ..."
)
READER_CONSENT = Event(
    "reader.consent",
    INFO,
    "A reader has signed up, confirmed, changed something or said goodbye.",
    action="asked, confirmed, unsubscribed, paused, ...",
    source="by what: the box, a link, the API, an import, ...",
    cadence="daily, weekly or monthly",
)

# Returned mail
REPORT_RECEIVED = Event(
    "report.received",
    INFO,
    "A bounce, a complaint or another report was read.",
    result="bounced, complained, unsubscribed, unplaced, repeated, ...",
    source="mail, or the provider whose hook it came by",
    domain="the domain of the mailbox that it is about",
    status="the enhanced status code (RFC 3463), if it has one",
)
HOOK_REJECTED = Event(
    "hook.rejected",
    WARNING,
    "Requests to a hook were rejected; at most one line a minute for each cause.",
    source="the provider",
    cause="path, signature, stale, topic, ...",
    count="how many since the last line",
    peer="the network address of the last one",
    **{MESSAGE: _SAID},
)
REPORTS_REJECTED = Event(
    "report.rejected",
    WARNING,
    "Reports were refused, or say that our mail was; at most one line a minute for each cause.",
    count="how many since the last line",
    **{MESSAGE: _SAID},
)

# Sending
SMTP_TRY = Event(
    "smtp.try",
    DEBUG,
    "One SMTP try of a delivery ended.",
    delivery="its id, for `newsletter delivery`",
    domain="the domain of the reader",
    outcome="accepted, deferred, refused or unknown",
    phase="mail, rcpt, data or body: how far it came",
    code=_CODE,
    status="the enhanced status code (RFC 3463), if there was one",
    ms="how long it took, in milliseconds",
    reply=_REPLY,
)
RELAY_CONNECTED = Event(
    "relay.connected",
    INFO,
    "A connection to a mail server was opened; at info the first of a run, the others at debug.",
    relay="the mail server, as host:port",
    tls="the version of TLS, or none",
)
RELAY_LOST = Event(
    "relay.lost",
    INFO,
    "A mail server ended a conversation; at info the first of a run, the others at debug.",
    relay="the mail server, as host:port",
    phase="how far the message had come",
    code=_CODE,
    reply=_REPLY,
)
RELAY_REFUSED = Event(
    "relay.refused",
    WARNING,
    "A mail server is not used for a while, or the run ends: it refuses us or our mail, or cannot "
    "be reached; at debug each failed connection.",
    relay="the mail server, as host:port",
    **{MESSAGE: _SAID},
)
RELAY_RECOVERED = Event(
    "relay.recovered",
    INFO,
    "A mail server that was put aside takes our mail again.",
    relay="the mail server, as host:port",
    **{MESSAGE: _SAID},
)
DOMAIN_PAUSED = Event(
    "domain.paused",
    WARNING,
    "Nothing is sent to a domain for a while: it limits our rate, or refuses all.",
    domain="the domain of the readers",
    until="when it begins again, slowly",
    code=_CODE,
    **{MESSAGE: _SAID},
)
DOMAIN_REFUSED_SIZE = Event(
    "domain.refused_size",
    WARNING,
    "A domain takes no mail as large as ours; once in a run.",
    domain="the domain of the readers",
    code=_CODE,
    **{MESSAGE: _SAID},
)
LIMIT_REACHED = Event(
    "limit.reached",
    INFO,
    "A rate limit is used up: a run ends, a worker waits.",
    until="when more may be sent",
)
WORKER_SIGNED_IN = Event(
    "worker.signed_in",
    INFO,
    "A process has begun that sends, or serves the pages.",
    worker="the first characters of its name",
    kind="worker or web",
    version="of this program",
)
WORKER_SIGNED_OUT = Event(
    "worker.signed_out",
    INFO,
    "Such a process has ended in good order.",
    worker="the first characters of its name",
    kind="worker or web",
    accepted="messages that servers accepted",
    deferred="tries that were put off",
    refused="messages that were refused for good",
    unknown="messages that may have arrived",
)
WORKER_TOOK_OVER = Event(
    "worker.took_over",
    WARNING,
    "A crashed worker was found, and its deliveries were settled.",
    worker="the first characters of the name of the crashed one",
)
WORKER_STOPPING = Event(
    "worker.stopping",
    INFO,
    "A signal asked a worker to end.",
    **{MESSAGE: _SAID},
)
WORKER_UNLOCKED = Event(
    "worker.unlocked",
    WARNING,
    "No lock file can be kept, so a crash of this process is noticed later; once for each folder.",
    **{MESSAGE: _SAID},
)

# Feeds
FEED_FETCHED = Event(
    "feed.fetched",
    INFO,
    "A feed was read; at info if it had something new or is well again, else at debug.",
    feed="its id",
    host="where it comes from",
    new="new articles",
    updated="articles that have changed",
    quarantined="articles that wait for approval",
    left_out="articles that were too many",
)
FEED_FAILED = Event(
    "feed.failed",
    WARNING,
    "A feed could not be read.",
    feed="its id",
    host="where it comes from",
    **{MESSAGE: "why"},
)
FEED_CRASHED = Event(
    "feed.crashed",
    ERROR,
    "An error of this program kept a feed from being read.",
    feed="its id, if it is known",
    **{TRACE: "the traceback"},
)

# The web
CONNECTIONS_CLOSED = Event(
    "web.closed",
    WARNING,
    "Connections of clients were closed or not accepted; at most one line a minute for each cause.",
    **{MESSAGE: _SAID},
)
PROXY_UNTRUSTED = Event(
    "web.proxy",
    WARNING,
    "Requests come by a proxy that trusted_proxies does not name, or without X-Forwarded-For.",
    **{MESSAGE: _SAID},
)
OUTAGE = Event(
    "database.unavailable",
    WARNING,
    "A request could not be answered; at most one line a minute for each cause.",
    count="how many more since the last line",
    **{MESSAGE: _SAID},
)

# Everything else
FINDING = Event(
    "finding",
    WARNING,
    "The doctor has found something, at its own level; docs/operations.md has every id.",
    id="the stable id of the finding",
    subject="what it is about, if there are several",
    **{MESSAGE: _SAID},
)
NOTICE = Event(
    "notice",
    WARNING,
    "Something that a command says in words, and no other event.",
    **{MESSAGE: "the sentence"},
)
FAILURE = Event(
    "failure",
    ERROR,
    "Something failed; a process that keeps running tries again.",
    **{MESSAGE: _SAID},
)
CRASHED = Event(
    "crashed",
    ERROR,
    "An error of this program; a process that keeps running tries again.",
    **{MESSAGE: "what it kept from being done", TRACE: "the traceback"},
)

#: All events by name.
ALL = {one.name: one for one in list(globals().values()) if isinstance(one, Event)}
