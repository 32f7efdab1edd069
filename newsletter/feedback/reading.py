"""Reads the mailbox of returned mails, and applies them batch by batch."""

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

#: Interval of scheduled reads; a little less than five minutes, because cron jobs start some
#: seconds early or late.
EVERY = timedelta(minutes=4, seconds=30)
#: Limits of a scheduled read, because a due edition waits for it: seconds after which no other
#: batch is begun, and after which a batch is aborted. The next run continues.
_LAST_BATCH_SECONDS, _LONGEST_SECONDS = 120.0, 300.0
#: While waiting for a mail: the time between two searches, and the time-out of a search.
_LOOK_SECONDS, _LOOK_AT_MOST_SECONDS = 2.0, 30.0

_Failure = ConfigurationError | InvalidInput | TransportUnavailable
#: Errors of the mailbox, unlike those of the database.
_FAILURES = (ConfigurationError, InvalidInput, TransportUnavailable)


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """The mailbox of returned mails, and the settings for applying them."""

    where: MailboxServer | Path
    #: The folder to which understood mails are moved; empty to delete them.
    folder: str
    rules: FeedbackRules

    @classmethod
    def of(cls, settings: Settings, rules: FeedbackRules) -> Mailbox | None:
        """Return the mailbox in the settings; None if there is none."""
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
    """Apply all unread mails; return False if another process reads, or it is too early.

    Only a scheduled read can be too early, less than EVERY after the last one. `on_batch` is called
    after the commit of each batch, with its counts and, if known, the number of unread mails at the
    start. Raises ConfigurationError, InvalidInput and TransportUnavailable, which name the mailbox;
    earlier batches are applied then, and if mails could not be moved, later batches too.
    """
    began = time.monotonic()
    with LeaderLock(engine, "mailbox") as lock:
        if not lock.is_elected() or (is_scheduled and not notices.is_due(engine, EVERY, now=now)):
            return False
        patience = Patience(_LONGEST_SECONDS if is_scheduled else math.inf, is_stopped)
        failure: _Failure | None = None
        try:
            where, folder = mailbox.where, mailbox.folder
            with _opened(engine, where, folder, patience, now=now) as source:
                for batch in source.batches():
                    understood, left = list[str](), list[str]()
                    if batch:
                        tally, understood, left = _applied(engine, mailbox, batch, now=now)
                        # Reported before `settle`: the batch is committed, even if its mails cannot
                        # be moved.
                        on_batch(tally, source.waiting)
                    try:
                        source.settle(understood=understood, left=left)
                    except _FAILURES as exc:
                        # The error is raised at the end, so that later mails are read nevertheless.
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


def check(
    engine: Engine, where: MailboxServer | Path, folder: str, *, now: datetime, seconds: float
) -> None:
    """Open a mailbox as `read` does, without changes; raises the errors of `read`.

    Does nothing while another process reads the mailbox, as POP3 allows only one session.
    """
    with LeaderLock(engine, "mailbox") as lock:
        if not lock.is_elected():
            return
        patience = Patience(seconds)
        if isinstance(where, MailboxServer) and where.protocol == "pop3":
            from newsletter.feedback import pop3  # noqa: PLC0415 - see `_opened`

            pop3.check(where, patience)
            return
        with _opened(engine, where, folder, patience, now=now) as source:
            if isinstance(where, Path):
                # The mailbox is opened by the first step of the iteration.
                next(source.batches(), None)


def wait_for(
    engine: Engine,
    where: MailboxServer | Path,
    folder: str,
    message_id: str,
    *,
    now: datetime,
    seconds: float,
) -> bytes | None:
    """Return the mail that has a Message-ID, or that returns it, once it is in the mailbox.

    None if the mail does not arrive in time. The mail is moved like processed mails; other mails
    are not changed. No other process reads the mailbox meanwhile. Raises the errors of `read`.
    """
    until = time.monotonic() + seconds
    with LeaderLock(engine, "mailbox") as lock:
        while True:
            if lock.is_elected():
                found = _taken(engine, where, folder, message_id.encode(), now=now)
                if found is not None:
                    return found
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, _LOOK_SECONDS))


def _taken(
    engine: Engine, where: MailboxServer | Path, folder: str, message_id: bytes, *, now: datetime
) -> bytes | None:
    with _opened(engine, where, folder, Patience(_LOOK_AT_MOST_SECONDS), now=now) as source:
        for batch in source.batches():
            found = [mail for mail in batch if message_id in mail.octets]
            source.settle(understood=[mail.handle for mail in found], left=())
            if found:
                return found[0].octets
    return None


def _applied(
    engine: Engine, mailbox: Mailbox, batch: list[Mail], *, now: datetime
) -> tuple[FeedbackTally, list[str], list[str]]:
    """Apply mails; return their counts, and the handles of those understood and the others."""
    keyring = mailbox.rules.publication.keyring
    found = [arrivals.of_mail(mail.octets, keyring) for mail in batch]
    tally = apply_all(engine, found, rules=mailbox.rules, now=now)
    handles = {True: list[str](), False: list[str]()}
    for mail, arrival in zip(batch, found, strict=True):
        handles[_is_understood(arrival)].append(mail.handle)
    return tally, handles[True], handles[False]


def _is_understood(arrival: Arrival) -> bool:
    """Return whether a mail needs no attention of a person any more.

    A request to unsubscribe without a token does: only a person can handle it.
    """
    kind = arrival.returned.kind
    return kind is not Kind.OTHER and not (kind is Kind.UNSUBSCRIBE and arrival.token is None)


@contextmanager
def _opened(
    engine: Engine, where: MailboxServer | Path, folder: str, patience: Patience, *, now: datetime
) -> Iterator[Source]:
    if isinstance(where, Path):
        with readable(where, "Look at the owner of the folder that it is in."):
            is_folder = where.is_dir()
        if is_folder:
            yield MaildirSource(where, engine, folder=folder, now=now)
        else:
            yield MboxSource(where, engine, now=now)
    elif where.protocol == "pop3":
        # Imported late, because a mailbox needs only one of the two clients.
        from newsletter.feedback import pop3  # noqa: PLC0415

        with pop3.opened(where, engine, now=now, patience=patience) as source:
            yield source
    else:
        from newsletter.feedback import imap  # noqa: PLC0415

        with imap.opened(where, folder=folder, patience=patience) as source:
            yield source
