"""Reads the mailbox that returned mails come to, and applies them batch by batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from newsletter.db.election import LeaderLock
from newsletter.errors import ConfigurationError, InvalidInput, TransportUnavailable
from newsletter.feedback import arrivals, notices
from newsletter.feedback.apply import FeedbackRules, FeedbackTally, apply_all
from newsletter.feedback.files import MaildirSource, MboxSource
from newsletter.feedback.mailbox import readable
from newsletter.feedback.patience import Patience
from newsletter.feedback.reports import Arrival, Kind
from newsletter.feedback.sources import Mail, Source
from newsletter.settings import Settings
from newsletter.settings.mailboxes import MailboxServer

#: How often the scheduler reads the mailbox; a little less than five minutes, since cron jobs begin
#: some seconds early or late.
EVERY = timedelta(minutes=4, seconds=30)
#: An edition that is due waits for a read on schedule: after so many seconds no other batch is
#: begun, and a server is left in the middle of one. The next run goes on.
_LAST_BATCH_SECONDS, _LONGEST_SECONDS = 120.0, 300.0


_Failure = ConfigurationError | InvalidInput | TransportUnavailable
#: Of the mailbox, not of the database.
_FAILURES = (ConfigurationError, InvalidInput, TransportUnavailable)


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """The mailbox, and what its mails are applied by."""

    where: MailboxServer | Path
    #: Where mails that were understood are moved to; empty to delete them.
    folder: str
    rules: FeedbackRules

    @classmethod
    def of(cls, settings: Settings, rules: FeedbackRules) -> Mailbox | None:
        """Return the mailbox that the settings name, if they do."""
        where = settings.feedback_mailbox()
        return cls(where=where, folder=settings.feedback_folder, rules=rules) if where else None


def read(
    engine: Engine,
    mailbox: Mailbox,
    *,
    now: datetime,
    on_batch: Callable[[FeedbackTally, int | None], None],
    is_stopped: Callable[[], bool] = lambda: False,
    is_scheduled: bool = False,
) -> bool:
    """Apply all mails that wait; False if that is not this process's turn.

    It is not while another one reads, and of the scheduler not so soon after the last time.
    `on_batch` gets the counts of each batch after its commit, and how many mails waited at first,
    where that is known. Raises ConfigurationError, InvalidInput and TransportUnavailable, which
    name the mailbox; the batches before are done then, and those after one that could not be moved.
    """
    began = time.monotonic()
    with LeaderLock(engine, "mailbox") as lock:
        if not lock.is_elected() or (is_scheduled and not notices.is_due(engine, EVERY, now=now)):
            return False
        patience = Patience(_LONGEST_SECONDS if is_scheduled else math.inf, is_stopped)
        failure: _Failure | None = None
        try:
            with _opened(engine, mailbox, patience, now=now) as source:
                for batch in source.batches():
                    understood, left = list[str](), list[str]()
                    if batch:
                        tally, understood, left = _applied(engine, mailbox, batch, now=now)
                        # It is done, also if the mails cannot be moved.
                        on_batch(tally, source.waiting)
                    try:
                        source.settle(understood=understood, left=left)
                    except _FAILURES as exc:
                        # What cannot be moved must not keep the mails behind it from being read.
                        failure = failure or exc
                    if is_stopped() or (
                        is_scheduled and time.monotonic() - began > _LAST_BATCH_SECONDS
                    ):
                        break
        except _FAILURES as exc:
            failure = failure or exc
        if failure is not None:
            raise failure
    return True


def _applied(
    engine: Engine, mailbox: Mailbox, batch: list[Mail], *, now: datetime
) -> tuple[FeedbackTally, list[str], list[str]]:
    """Apply mails; return what they came to, and which of them were understood and which not."""
    keyring = mailbox.rules.publication.keyring
    found = [arrivals.of_mail(mail.octets, keyring) for mail in batch]
    tally = apply_all(engine, found, rules=mailbox.rules, now=now)
    handles = {True: list[str](), False: list[str]()}
    for mail, arrival in zip(batch, found, strict=True):
        handles[_is_understood(arrival)].append(mail.handle)
    return tally, handles[True], handles[False]


def _is_understood(arrival: Arrival) -> bool:
    """Return whether nobody has to look at a mail any more.

    A request to unsubscribe that only a person can answer stays.
    """
    kind = arrival.returned.kind
    return kind is not Kind.OTHER and not (kind is Kind.UNSUBSCRIBE and arrival.token is None)


@contextmanager
def _opened(
    engine: Engine, mailbox: Mailbox, patience: Patience, *, now: datetime
) -> Iterator[Source]:
    where = mailbox.where
    if isinstance(where, Path):
        with readable(where, "Look at the owner of the folder that it is in."):
            is_folder = where.is_dir()
        if is_folder:
            yield MaildirSource(where, engine, folder=mailbox.folder, now=now)
        else:
            yield MboxSource(where, engine, now=now)
    elif where.protocol == "pop3":
        # Imported where they are needed: most mailboxes are of one kind.
        from newsletter.feedback import pop3  # noqa: PLC0415

        with pop3.opened(where, engine, now=now, patience=patience) as source:
            yield source
    else:
        from newsletter.feedback import imap  # noqa: PLC0415

        with imap.opened(where, folder=mailbox.folder, patience=patience) as source:
            yield source
