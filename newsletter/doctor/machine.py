"""Pure checks of this machine and its database: clock, keys, disk, cron, feeds, readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from newsletter import tokens
from newsletter.doctor.findings import Finding, Level
from newsletter.errors import ConfigurationError

#: Maximum difference of clocks; the dates of mails and editions depend on them.
_CLOCK_WARNING, _CLOCK_ERROR = timedelta(minutes=1), timedelta(minutes=5)
#: Octets per reader of an edition in the database and its write-ahead log, with indexes; and the
#: minimum for both.
_READER_OCTETS, _LEAST_OCTETS = 1_000, 100_000_000
#: A feed is polled once a day or more often.
_STALE = timedelta(days=3)
_NAMED = 3
#: Among so many mails of any newsletter, at least one bounces or gets an automatic reply.
_SURELY_HEARD = 1_000
_DAYS = 7
_MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Polled:
    """The values of a feed by which its age is judged."""

    name: str
    #: When the feed was last read, or else added.
    read_at: datetime
    is_failing: bool


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The folder of the database, and the free octets of its file system."""

    folder: str
    free: int


@dataclass(frozen=True, kw_only=True)
class Returns:
    """The number of mails sent recently, and the last returned mail."""

    #: Accepted mails of the last edition of each cadence, if it is recent.
    sent: int
    #: When mail was last returned, and when the publication was set up.
    heard_at: datetime | None
    began_at: datetime
    #: Whether a mailbox or a provider's hook is configured.
    is_read: bool


def clock(ahead: timedelta | None, *, other: str) -> Iterator[Finding]:
    """Check by how much this machine's clock is ahead of another one; None is unknown."""
    if ahead is None:
        yield Finding(
            id="clock",
            level=Level.NOT_CHECKED,
            sentence=f"This machine's clock could not be compared with that of {other}.",
            hint="`timedatectl` says whether it is set by NTP.",
            subject=other,
        )
        return
    apart = abs(ahead)
    if apart > _CLOCK_WARNING:
        where = "ahead of" if ahead > timedelta() else "behind"
        yield Finding(
            id="clock",
            level=Level.ERROR if apart > _CLOCK_ERROR else Level.WARNING,
            sentence=f"This machine's clock is {_span(apart)} {where} that of {other}.",
            hint="Have NTP set it (`timedatectl set-ntp true`): send times, links that expire and "
            "the dates of mails go by it.",
            subject=other,
        )


def keys(secret_keys: Sequence[str]) -> Iterator[Finding]:
    """Check the keys that sign links: not too short, not an example, not easy to guess."""
    try:
        tokens.Keyring(secret_keys)
    except ConfigurationError as exc:
        yield Finding(id="keys", level=Level.ERROR, sentence=exc.message, hint=exc.hint or "")
        return
    if any(key in f"{key}{key}"[1:-1] for key in secret_keys):
        yield Finding(
            id="keys.weak",
            level=Level.ERROR,
            sentence="A key of secret_keys repeats a shorter text: whoever guesses it can sign "
            "links of any reader.",
            hint="Put a new one before it (`openssl rand -hex 32`), and drop it when no mail "
            "signed by it counts any more.",
        )
    if len(set(secret_keys)) < len(secret_keys):
        yield Finding(
            id="keys.repeated",
            level=Level.WARNING,
            sentence="A key stands in secret_keys more than once.",
            hint="Leave it where it comes first; the newest key comes first of all.",
        )


def disk(found: Disk | None, *, readers: int) -> Iterator[Finding]:
    """Check that the disk has room for an edition to all readers; None is unknown."""
    if found is None:
        yield Finding(
            id="disk",
            level=Level.NOT_CHECKED,
            sentence="The room on the disk of the database could not be read.",
            hint="`df -h` on the machine of the database shows it.",
        )
        return
    needed = _LEAST_OCTETS + readers * _READER_OCTETS
    if found.free < 3 * needed:
        is_short = found.free < needed
        yield Finding(
            id="disk",
            level=Level.ERROR if is_short else Level.WARNING,
            sentence=f"{found.folder} has {found.free // _MB:,} MB free; the next edition and the "
            f"write-ahead log may need {needed // _MB:,} MB.",
            hint="Make room there; `newsletter database prune` deletes what is no longer needed.",
        )


def cron(*, has_run: bool) -> Iterator[Finding]:
    """Check that cron or a worker with a schedule has run, since these make editions."""
    if not has_run:
        yield Finding(
            id="cron",
            level=Level.WARNING,
            sentence="Neither `newsletter cron` nor `newsletter worker --schedule` has run yet.",
            hint="Have cron run `newsletter cron` every five minutes: docs/install.md has the "
            "line.",
        )


def feeds(polled: Sequence[Polled], *, has_articles: bool, now: datetime) -> Iterator[Finding]:
    """Check that there are articles, and that feeds are still read."""
    if not polled and not has_articles:
        yield Finding(
            id="feeds.none",
            level=Level.WARNING,
            sentence="There is no feed yet, and no article.",
            hint="`newsletter feeds add https://your-site.example/feed.xml` adds a feed.",
        )
    stale = [one for one in polled if not one.is_failing and now - one.read_at > _STALE]
    if stale:
        names = ", ".join(f"{one.name} ({one.read_at:%Y-%m-%d})" for one in stale[:_NAMED])
        more = f" and {len(stale) - _NAMED} more" if len(stale) > _NAMED else ""
        were = "1 feed was" if len(stale) == 1 else f"{len(stale):,} feeds were"
        yield Finding(
            id="feeds.unread",
            level=Level.WARNING,
            sentence=f"{were} last read days ago: {names}{more}.",
            hint="`newsletter feeds fetch` reads them now; look whether `newsletter cron` runs.",
        )


def readers(count: int) -> Iterator[Finding]:
    """Check that there are readers."""
    if not count:
        yield Finding(
            id="readers.none",
            level=Level.WARNING,
            sentence="There are no readers yet.",
            hint="`newsletter subscribers add you@your-site.example --cadence weekly` adds one.",
        )


def fresh(returns: Returns, *, now: datetime) -> Iterator[Finding]:
    """Check that returned mail is processed: of enough mails, some are always returned."""
    if not returns.sent:
        return
    mails = "1 mail" if returns.sent == 1 else f"{returns.sent:,} mails"
    if not returns.is_read:
        yield Finding(
            id="feedback.fresh",
            level=Level.WARNING,
            sentence=f"{mails} went out, and nothing reads what comes back: bounces and "
            "complaints have no effect.",
            hint="Set feedback_url to the mailbox of your return path, or have your provider call "
            "a hook: docs/install.md has the steps.",
        )
        return
    days = timedelta(days=_DAYS)
    is_heard = returns.heard_at is not None and now - returns.heard_at <= days
    if is_heard or now - returns.began_at <= days:
        return
    since = f"since {returns.heard_at:%Y-%m-%d}" if returns.heard_at else "so far"
    yield Finding(
        id="feedback.fresh",
        level=Level.WARNING if returns.sent >= _SURELY_HEARD else Level.INFO,
        sentence=f"Nothing has come back {since}, with {mails} in the last editions.",
        hint="`newsletter doctor --mail` with the address of your return path shows whether mails "
        "to it are read.",
    )


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60:,} min"
