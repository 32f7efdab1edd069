"""`newsletter feedback`: reads, lists and classifies returned mail, such as bounces."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from newsletter import clock
from newsletter.cli import context, output, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.progress import Progress
    from sqlalchemy import Engine

    from newsletter.editions.alarms import Alarm
    from newsletter.errors import NewsletterError
    from newsletter.feedback.apply import FeedbackTally
    from newsletter.feedback.reports import Returned


class CameBack(NamedTuple):
    """The counts of read mails, the paused editions, and the error that ended reading, if any."""

    tally: FeedbackTally
    alarms: list[Alarm]
    failure: NewsletterError | None = None

    @property
    def is_news(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.tally.read or self.alarms)

    def as_json(self) -> dict[str, object]:
        """Return the counts and the paused editions."""
        return {**vars(self.tally), "paused": [one._asdict() for one in self.alarms]}


app = typer.Typer(no_args_is_help=True)

JsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object for each mail, one a line.")
]
#: Maximum characters of a server's reply in a table.
_SHOWN = 100
#: Maximum number of kinds of refusals of our mail or set-up that are printed.
_SHOWN_OURS = 10
#: Mails per transaction.
_BATCH = 200
_COLUMNS = ("at", "from", "kind", "recipient", "verdict", "code", "reply", "reason")
#: The results of mails, in the order in which they are printed.
_RESULTS = (
    "bounced", "complained", "delayed", "delivered", "automatic", "unplaced", "unsubscribed",
    "already", "outdated", "invalid", "unsigned", "repeated", "other",
)  # fmt: skip


@app.command()
def read(
    ctx: typer.Context,
    mailbox: Annotated[
        Path | None,
        typer.Argument(
            help="A Maildir, an mbox file, or - for a mail on standard input; without one, the "
            "mailbox that feedback_url names, or else standard input."
        ),
    ] = None,
    *,
    json: output.Json = False,
) -> None:
    """Read returned mails and apply them: suppress dead addresses, unsubscribe readers.

    A bounce counts if it contains the Message-ID of one of our mails or was sent to a return path
    that we signed, and a request to unsubscribe if it has the reader's token; the sender's address
    never counts. Reading mails again is harmless. A mailbox that is given as an argument is not
    changed; in the one of feedback_url, understood mails are moved or deleted. Nothing is printed
    if nothing is new.

    While feedback_url is set, a mail on standard input is refused with exit code 75, so that a mail
    server keeps it; with the argument - it is read.
    """
    here = context.of(ctx)
    with here.database() as engine:
        if mailbox is None and here.settings.feedback_url:
            if streams.has_waiting(sys.stdin):
                output.error(
                    "Something waits on standard input, and feedback_url names a mailbox.",
                    "Write `newsletter feedback read -` for a mail from there, or `< /dev/null` "
                    "behind the command to read the mailbox.",
                )
                raise typer.Exit(75)
            with output.progress() as progress:
                found = _read_mailbox(engine, here, progress=progress)
        else:
            found = _apply(engine, here, _mails(mailbox or Path("-")))
    if found is None:
        output.say("Another process reads the mailbox.")
        raise typer.Exit(75)
    if json:
        output.as_json(found.as_json())
    elif found.is_news or found.failure is None:
        report(found.tally, found.alarms)
    if found.failure is not None:
        raise found.failure


@app.command("list")
def listed(
    ctx: typer.Context,
    *,
    unplaced: Annotated[
        bool, typer.Option("--unplaced", help="Only those that name no mail of ours.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=output.LARGEST, help="At most so many.")] = 100,
    json: output.Json = False,
) -> None:
    """List bounces and other reports, the latest first, and how many forged ones were rejected.

    A report without a known mail of ours may be forged, and has no effect; to apply it by hand, use
    `newsletter suppression add` and `newsletter subscribers unsubscribe`.
    """
    from newsletter.db import session as sessions
    from newsletter.ledger import reports

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        rows = list(reports.listing(session, unplaced=unplaced, limit=limit))
        rejected = [one.model_dump() for one in reports.rejections(session)]
    if json:
        output.as_json({"reports": rows, "rejected": rejected})
        return
    if not rows:
        output.say("Nothing has come back." if not unplaced else "All that came back is placed.")
    else:
        output.table(_COLUMNS, (_listed(row) for row in rows))
    for one in rejected:
        count = output.counted(one["count"], "report")
        output.say(f"{count} from {one['source']} rejected ({one['cause']}), last {one['at']}.")


@app.command()
def classify(
    files: Annotated[
        list[Path],
        typer.Argument(help="Mails, mbox files or Maildirs; - for standard input."),
    ],
    *,
    json: JsonLines = False,
) -> None:
    """Show how returned mails would be classified: bounces, complaints and the like.

    Changes nothing, and needs neither settings nor a database. If a file cannot be read, the others
    are shown nevertheless, and the exit code is 1.
    """
    from newsletter.errors import InvalidInput
    from newsletter.feedback import bounce

    rows: list[list[object]] = []
    unread = 0
    for path in files:
        try:
            for where, mail in _mails(path):
                found = bounce.read(mail)
                if json:
                    output.as_json({"file": where, **asdict(found)}, is_line=True)
                else:
                    rows += _rows(where, found)
        except InvalidInput as exc:
            unread += 1
            output.error(str(exc), exc.hint)
    if rows:
        output.table(("file", "kind", "recipient", "verdict", "code", "status", "text"), rows)
    if unread:
        raise typer.Exit(1)


def _mails(path: Path) -> Iterator[tuple[Path, bytes]]:
    from newsletter.feedback import mailbox as mails

    if str(path) != "-":
        yield from mails.mails(path)
        return
    for mail in mails.of_stream(sys.stdin.buffer):
        yield path, mail


def _rows(where: Path, found: Returned) -> Iterator[list[object]]:
    if not found.reports:
        yield [where, found.kind, None, None, None, None, None]
    for one in found.reports:
        said = one.text[:_SHOWN]
        # As text, because a code is not formatted as a quantity.
        code = str(one.code) if one.code else None
        yield [where, found.kind, one.recipient, one.verdict, code, one.status, said]


def _listed(row: Mapping[str, Any]) -> tuple[object, ...]:
    words = (row["reply"] or "")[:_SHOWN]
    # As text, because a code is not formatted as a quantity.
    code = str(row["code"]) if row["code"] else None
    who = row["recipient"] or row["address"]
    return (row["at"], row["source"], row["kind"], who, row["verdict"], code, words, row["reason"])


def _apply(engine: Engine, here: context.Context, found: Iterable[tuple[Path, bytes]]) -> CameBack:
    """Apply mails in batches, and pause editions with too many bounces or complaints."""
    from newsletter.feedback import arrivals
    from newsletter.feedback.apply import FeedbackRules, FeedbackTally, apply_all

    rules = FeedbackRules.of(here.settings, here.publication)
    keyring = here.publication.keyring
    tally = FeedbackTally()
    rest = iter(found)
    while batch := [arrivals.of_mail(mail, keyring) for _, mail in islice(rest, _BATCH)]:
        tally.add(apply_all(engine, batch, rules=rules, now=clock.utc_now()))
    return CameBack(tally, _alarms(engine, here))


def _read_mailbox(
    engine: Engine,
    here: context.Context,
    *,
    progress: Progress | None = None,
    is_scheduled: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
) -> CameBack | None:
    """Read the mailbox in the settings; None if another process reads it, or it is too early."""
    from newsletter.errors import DatabaseUnavailable, NewsletterError
    from newsletter.feedback import reading
    from newsletter.feedback.apply import FeedbackRules, FeedbackTally

    rules = FeedbackRules.of(here.settings, here.publication)
    mailbox = reading.Mailbox.of(here.settings, rules)
    tally = FeedbackTally()
    failure: NewsletterError | None = None
    if mailbox is None:
        return None
    task = progress.add_task("Returned mails", total=None) if progress else None

    def on_batch(batch: FeedbackTally, waiting: int | None) -> None:
        tally.add(batch)
        if progress is not None and task is not None:
            progress.update(task, completed=tally.read, total=waiting)

    try:
        is_read = reading.read(
            engine,
            mailbox,
            now=clock.utc_now(),
            on_batch=on_batch,
            is_stopped=is_stopped,
            is_scheduled=is_scheduled,
        )
    except DatabaseUnavailable:
        raise
    except NewsletterError as exc:
        # Earlier batches are applied, and reported.
        is_read, failure = True, exc
    except Exception as exc:
        if not is_scheduled:
            raise
        # Editions must be made nevertheless. The message is dropped, as it may quote a mail.
        what = f"{type(exc).__name__} ({output.place(exc)})"
        is_read, failure = (
            True,
            NewsletterError(
                f"The mailbox of returned mails cannot be read: {what}.",
                hint="That should not be: please report it.",
            ),
        )
    if not is_read:
        return None
    return CameBack(tally, _alarms(engine, here), failure)


def on_schedule(
    engine: Engine, here: context.Context, *, is_stopped: Callable[[], bool]
) -> CameBack | None:
    """Read the mailbox for cron or a worker, if there is one in the settings and it is time.

    Also pauses editions with too many bounces or complaints, by mail or by hook. A failure is
    reported the first time, then once a day, and its end too; the result has it only when reported.
    """
    found = None
    if here.settings.feedback_url:
        found = _read_mailbox(engine, here, is_scheduled=True, is_stopped=is_stopped)
    if found is None:
        return _alarmed(engine, here)
    from newsletter.feedback import notices

    said = notices.take(engine, found.failure, now=clock.utc_now())
    if said:
        output.warn(said, found.failure.hint if found.failure else None)
        return found
    return found._replace(failure=None)


def _alarmed(engine: Engine, here: context.Context) -> CameBack | None:
    alarms = _alarms(engine, here)
    if not alarms:
        return None
    from newsletter.feedback.apply import FeedbackTally

    return CameBack(FeedbackTally(), alarms)


def _alarms(engine: Engine, here: context.Context) -> list[Alarm]:
    from newsletter.editions import alarms

    return alarms.check(engine, publication=here.publication, now=clock.utc_now())


def report(tally: FeedbackTally, alarms: Sequence[Alarm]) -> None:
    """Print the counts of returned mails, if there are new ones, and problems for the operator."""
    is_quiet = tally.read == tally.other + tally.repeated + tally.automatic + tally.delivered
    if not is_quiet or (streams.is_terminal(streams.stdout()) and not alarms):
        counts = [f"{n:,} {name}" for name in _RESULTS if (n := getattr(tally, name))]
        said = f"{output.counted(tally.read, 'mail')}: {', '.join(counts) or 'nothing'}."
        if tally.suppressed:
            ending = "address is" if tally.suppressed == 1 else "addresses are"
            said += f" {tally.suppressed:,} {ending} suppressed now."
        output.say(said)
    for alarm in alarms:
        output.warn(
            f"{alarm.edition} is paused: {alarm.reason}.",
            f"`newsletter feedback list` shows why; `newsletter editions resume {alarm.edition}` "
            "lets it go on.",
        )
    for about, count in tally.ours.most_common(_SHOWN_OURS):
        output.warn(f"{output.counted(count, 'mail')} came back for {about}.")
    for what, count in sorted(tally.rejected.items()):
        output.warn(f"{output.counted(count, 'report')} rejected ({what}).")
    if tally.unplaced:
        output.warn(
            f"{output.counted(tally.unplaced, 'report')} without a mail of ours, and without "
            "effect: `newsletter feedback list --unplaced`."
        )
    if not tally.unsigned:
        return
    output.warn(
        "Who asks without a token may be anybody. Write back, or run `newsletter subscribers "
        "unsubscribe ADDRESS`:"
    )
    for sender in tally.senders:
        output.warn(f"  {sender or '(no sender)'}")
