"""`newsletter plan`: shows the next editions as they would be made; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import books, context, output
from newsletter.errors import InvalidInput
from newsletter.ledger.reasons import Reason

if TYPE_CHECKING:
    from collections import Counter

    from newsletter.editions.announce import AnnouncementPlan
    from newsletter.editions.plan import EditionPlan, Left, Planned
    from newsletter.settings import Settings

#: Maximum of domains that are printed: those with the most readers.
_DOMAINS = 8
#: Maximum of articles of each mail that are printed.
_ARTICLES = 30
#: Maximum of earlier editions that are named one by one.
_EARLIER = 5
#: Reasons whose names alone do not say what they mean.
_UNCLEAR = frozenset({Reason.NOTHING_NEW, Reason.UNDER_WAY})


def plan(
    ctx: typer.Context,
    cadence: Annotated[
        Cadence | None, typer.Argument(help="daily, weekly or monthly; all of them by default.")
    ] = None,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="INSTANT",
            help="The edition that is due by then, such as 2026-12-07T08:00 (in the publication's "
            "time zone) or 2026-12-07, with the articles of today.",
        ),
    ] = None,
    json: output.Json = False,
) -> None:
    """Show what the next editions would be: articles, mails, readers, and who gets none and why.

    It only reads: nothing is locked, written or sent.
    """
    from newsletter.editions import plan as planning
    from newsletter.sender.forecast import Capacity

    here, now = context.of(ctx), clock.utc_now()
    instant = _instant(at, here.settings.zone) if at else None
    wanted = [cadence] if cadence else list(Cadence)
    with here.database() as engine, output.waiting() as show:
        plans = planning.upcoming(
            engine,
            wanted,
            now=now,
            at=instant,
            publication=here.publication,
            capacity=Capacity.of(here.settings),
            on_step=show,
        )
    if json:
        output.as_json({"editions": [as_values(one) for one in plans]})
    else:
        show_all(plans, here.settings)


def as_values(found: EditionPlan) -> dict[str, Any]:
    """Return a plan as values for JSON: the keys of an edition's summary, and further ones."""
    return {
        **asdict(found.summary),
        "is_made": found.is_made,
        "due_at": found.due_at,
        "at": found.at,
        "covers_from": found.covers_from,
        "covers_to": found.covers_to,
        "note": found.note,
        "mailings": [_mail_values(mail) for mail in found.mailings],
        "without": [asdict(left) for left in found.without],
        "domains": dict(found.domains.most_common()),
        "forecast": asdict(found.forecast) if found.forecast else None,
        "last": asdict(found.last) if found.last else None,
        "sent_before": found.sent_before,
        "due_before": found.due_before,
        "skipped_before": found.skipped,
    }


def _mail_values(mail: Planned) -> dict[str, Any]:
    return {
        "subject": mail.subject,
        "readers": mail.readers,
        "covers_from": mail.covers_from,
        "covers_from_latest": mail.covers_from_latest,
        "articles": [
            {
                "id": article.article_id,
                "role": article.role,
                "title": article.title,
                "link": article.link,
            }
            for article in mail.articles
        ],
        "left_out": mail.left_out,
        "octets": mail.octets,
        "html_octets": mail.html_octets,
    }


def show_all(plans: Sequence[EditionPlan], settings: Settings) -> None:
    """Print several plans."""
    for number, found in enumerate(plans):
        if number:
            output.say("")
        show(found, settings)


def show(found: EditionPlan, settings: Settings) -> None:
    """Print one plan."""
    for sentence in _head(found, settings.zone):
        output.say(sentence)
    if found.mailings:
        _show_mails(found.mailings)
        for number, mail in enumerate(found.mailings, start=1):
            _show_articles(mail, number, len(found.mailings))
    show_readers(found, settings)


def show_readers(found: EditionPlan | AnnouncementPlan, settings: Settings) -> None:
    """Print who gets none and why, the domains of the others, and how long sending takes."""
    from newsletter.sender import forecast

    if found.without:
        output.say("")
        output.table(
            ["get none", "why", ""],
            ([left.readers, left.reason, _aside(left, settings.zone)] for left in found.without),
        )
    if found.domains:
        output.say("")
        output.say(f"To {_domains(found.domains)}.")
        output.say(forecast.sentence(found.forecast))


def sizes(found: AnnouncementPlan) -> str:
    """Return the size of a mail and of its HTML, in words."""
    return f"{_kilobytes(found.octets)} each, {_kilobytes(found.html_octets)} of it HTML"


def _instant(text: str, zone: ZoneInfo) -> datetime:
    """Parse an instant in ISO 8601; a date means its last minute. Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2026-12-07"):
            found = datetime.combine(date.fromisoformat(text), time(23, 59))
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(
            f"{text[:100]!a} is no instant.",
            hint="Write 2026-12-07T08:00, which is of the publication's time zone, or "
            "2026-12-07T08:00+01:00.",
        ) from exc


def _head(found: EditionPlan, zone: ZoneInfo) -> Iterator[str]:
    summary = found.summary
    if found.is_made:
        readers = output.counted(summary.audience, "reader")
        yield f"{summary.edition} is {summary.state} already: {readers}{books.counts(summary)}."
        return
    yield f"{summary.edition}, due {found.due_at.astimezone(zone):%A %d %B %Y, %H:%M %Z}"
    for names, state in ((found.due_before, "due"), (found.skipped, "skipped")):
        if names:
            is_ = "is" if len(names) == 1 else "are"
            aside = "; what comes until then is not known yet" if state == "due" else ""
            yield f"  Before it, {_earlier(names)} {is_} {state}{aside}."
    if found.sent_before:
        mails = output.counted(found.sent_before, "open mail")
        yield f"  {mails} of earlier editions count as sent by then."
    if summary.reason:
        yield f"  Nothing is sent: {summary.reason}"
    else:
        mails = output.counted(len(found.mailings), "mail")
        readers = output.counted(summary.audience, "reader")
        yield f"  {readers} would get it, in {mails}; {_covers(found, zone)}."
    if (last := found.last) is not None:
        had = (
            output.counted(last.readers, "reader"),
            output.counted(last.articles, "article"),
            _kilobytes(last.octets),
        )
        yield f"  The last one, {last.edition}, had {', '.join(had)}."
    if found.note:
        yield f"  A note stands above the articles: {_first_line(found.note)}"


def _earlier(names: Sequence[str]) -> str:
    if len(names) <= _EARLIER:
        return output.listed(names)
    return f"{len(names):,} editions, {names[0]} to {names[-1]},"


def _covers(found: EditionPlan, zone: ZoneInfo) -> str:
    assert found.covers_from is not None
    return f"new readers begin at {found.covers_from.astimezone(zone):%Y-%m-%d %H:%M}"


def _show_mails(mails: Sequence[Planned]) -> None:
    from newsletter.rendering.compile import WIRE_LIMIT

    output.say("")
    output.table(
        ["mail", "readers", "articles", "left out", "size", f"HTML (of {_kilobytes(WIRE_LIMIT)})"],
        (
            [
                number,
                mail.readers,
                sum(article.role != "related" for article in mail.articles),
                mail.left_out,
                _kilobytes(mail.octets),
                _kilobytes(mail.html_octets),
            ]
            for number, mail in enumerate(mails, start=1)
        ),
    )


def _show_articles(mail: Planned, number: int, mails: int) -> None:
    output.say("")
    output.say(f"Mail {number}: {mail.subject}" if mails > 1 else mail.subject)
    for article in mail.articles[:_ARTICLES]:
        output.say(f"  {article.role:<8} {article.title} ({article.article_id})")
    if (more := len(mail.articles) - _ARTICLES) > 0:
        output.say(f"  and {output.counted(more, 'more article')}")


def _aside(left: Left, zone: ZoneInfo) -> str:
    """Return the cause of a group, its first end of a pause, or an unclear reason's meaning."""
    if left.cause:
        return left.cause
    if left.resumes_at:
        return f"the first is back {left.resumes_at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
    return left.reason.meaning if left.reason in _UNCLEAR else ""


def _domains(domains: Counter[str]) -> str:
    largest = domains.most_common(_DOMAINS)
    named = [f"{domain} {count:,}" for domain, count in largest]
    if others := len(domains) - len(largest):
        rest = domains.total() - sum(count for _, count in largest)
        named.append(f"{output.counted(others, 'other domain')} {rest:,}")
    return output.listed(named)


def _kilobytes(octets: int) -> str:
    return f"{octets / 1_000:,.1f} kB"


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return f"{first} ..." if rest else first
