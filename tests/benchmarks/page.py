"""Writes docs/performance.md and its charts from the results of `make bench`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import charts
import classifying
import desk
import feeds
import hooks
import imports
import planning
import scraping
import starts

Runs = Mapping[str, Sequence[Mapping[str, float]]]
#: Seconds by kind, at each size.
Feeds = Mapping[str, Sequence[float]]
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """A promised figure, and the measured one."""

    what: str
    wanted: str
    measured: str
    ratio: float
    limit: float
    #: Whether a smaller ratio is the better one.
    is_cost: bool = False

    @property
    def holds(self) -> bool:
        """Tell whether the promise is kept."""
        return self.ratio <= self.limit if self.is_cost else self.ratio >= self.limit


def rate(run: Mapping[str, float]) -> float:
    return run["messages"] / run["seconds"]


def cpu(run: Mapping[str, float]) -> float:
    return 1e6 * run["cpu_seconds"] / run["messages"]


def seconds(run: Mapping[str, float]) -> float:
    return run["seconds"]


def peak(run: Mapping[str, float]) -> float:
    return run["peak_kilobytes"] / 1024


def _ratio(runs: Runs, ours: str, theirs: str, of: Callable[[Mapping[str, float]], float]) -> float:
    """Return the median over the rounds of what each round's pair came to."""
    return statistics.median(of(a) / of(b) for a, b in zip(runs[ours], runs[theirs], strict=True))


def _typical(runs: Runs, name: str, of: Callable[[Mapping[str, float]], float]) -> float:
    return statistics.median(of(run) for run in runs[name])


def figures(runs: Runs) -> list[Figure]:
    """Return every promise with what was measured."""

    def faster(what: str, ours: str, theirs: str, limit: float) -> Figure:
        ratio = _ratio(runs, ours, theirs, rate)
        a, b = _typical(runs, ours, rate), _typical(runs, theirs, rate)
        text = f"{ratio:.2f} x ({a:,.0f}/s : {b:,.0f}/s)"
        return Figure(what, f"{limit:g} x", text, ratio, limit)

    found = [
        faster(
            "`newsletter send`, SQLite, 50 connections : `smtp-source`",
            "SQLite",
            "smtp-source",
            0.95,
        ),
        faster("the same : aiosmtplib `sendmail` over prebuilt bytes", "SQLite", "aiosmtplib", 3.5),
        faster(
            "the same : Jinja2, premailer, EmailMessage, `sendmail` per reader",
            "SQLite",
            "usual",
            60,
        ),
        faster(
            "the whole command, start and freeze and all : `smtp-source`",
            "SQLite, the whole command",
            "smtp-source",
            0.75,
        ),
        faster("PostgreSQL : SQLite", "PostgreSQL", "SQLite", 0.85),
        faster(
            "20 ms away, 10 connections : aiosmtplib `sendmail`",
            "far SQLite",
            "far aiosmtplib",
            3.5,
        ),
        faster(
            "20 ms away, PostgreSQL, two workers : one",
            "far PostgreSQL, 2 workers",
            "far PostgreSQL, 1 workers",
            1.9,
        ),
    ]
    ours, theirs = _typical(runs, "SQLite", cpu), _typical(runs, "aiosmtplib", cpu)
    ratio = _ratio(runs, "SQLite", "aiosmtplib", cpu)
    found.append(
        Figure(
            "CPU per message : aiosmtplib `sendmail`",
            "at most 0.35 x",
            f"{ratio:.2f} x ({ours:,.0f} µs : {theirs:,.0f} µs)",
            ratio,
            0.35,
            is_cost=True,
        )
    )
    one, two = (_typical(runs, f"PostgreSQL, {count} workers", cpu) for count in (1, 2))
    ratio = _ratio(runs, "PostgreSQL, 2 workers", "PostgreSQL, 1 workers", cpu)
    found.append(
        Figure(
            "CPU per message, PostgreSQL, two workers : one",
            "at most 1.1 x",
            f"{ratio:.2f} x ({two:,.0f} µs : {one:,.0f} µs)",
            ratio,
            1.1,
            is_cost=True,
        )
    )
    few, many = _typical(runs, "10,000 readers", peak), _typical(runs, "1,000,000 readers", peak)
    found.append(
        Figure(
            "peak memory, 1,000,000 readers : 10,000",
            "at most 1.2 x, under 150 MB",
            f"{many / few:.2f} x ({many:,.0f} MB : {few:,.0f} MB)",
            # Over 150 MB it does not hold whatever the ratio.
            many / few if many < 150 else 99,
            1.2,
            is_cost=True,
        )
    )
    freeze = _typical(runs, "freeze of 1,000,000", seconds)
    bare = _typical(runs, "bare INSERT of 1,000,000", seconds)
    found.append(
        Figure(
            "freeze of 1,000,000 readers : the bare `INSERT ... SELECT`",
            "at most 1.2 x the time",
            f"{freeze / bare:.2f} x ({freeze:.1f} s : {bare:.1f} s)",
            freeze / bare,
            1.2,
            is_cost=True,
        )
    )
    around = [rate(runs[f"50,000 readers, {when}"][0]) for when in ("before", "after")]
    full = _typical(runs, "1,000,000 readers", rate)
    ratio = full / statistics.mean(around)
    found.append(
        Figure(
            "messages/s, 1,000,000 readers : 50,000",
            "0.9 x",
            f"{ratio:.2f} x ({full:,.0f}/s : {statistics.mean(around):,.0f}/s)",
            ratio,
            0.9,
        )
    )
    return found


def writes_of_databases(before: Mapping[str, float], now: Mapping[str, float]) -> list[Figure]:
    """Return what the databases do for each message, beside three new versions of its row."""
    named = {
        "server, PostgreSQL": ("processor time of PostgreSQL's server for each message", "µs"),
        "log, PostgreSQL": ("write-ahead log for each message, PostgreSQL", "octets"),
        "log, SQLite": ("the same, SQLite", "octets"),
    }
    return [
        Figure(
            f"{what} : with claim and mark written to the row",
            "at most 0.6 x",
            f"{now[key] / before[key]:.2f} x ({now[key]:,.0f} : {before[key]:,.0f} {unit})",
            now[key] / before[key],
            0.6,
            is_cost=True,
        )
        for key, (what, unit) in named.items()
    ]


def growth_of_feeds(costs: Feeds) -> Figure:
    """Return the figure of hostile feeds: twice the size costs about twice the time."""
    # Without those that cost too little for the resolution of the clock.
    dear = {kind: taken for kind, taken in costs.items() if taken[-1] > 0.02}
    growth = {kind: (taken[-1] / taken[0]) ** 0.5 for kind, taken in dear.items()}
    worst = max(growth, key=lambda kind: growth[kind])
    return Figure(
        "processor time of a hostile feed of twice the size, the worst of "
        f"{len(costs)} kinds : of the size",
        # 2.3, not 2: twice the data also misses the processor's caches more often.
        "at most 2.3 x",
        f"{growth[worst]:.2f} x ({worst})",
        growth[worst],
        2.3,
        is_cost=True,
    )


def starts_of_commands(costs: Mapping[str, float]) -> list[Figure]:
    """Return the figures of the time that commands take to start."""
    return [
        Figure(
            f"processor time of `newsletter {command}`, nothing due : `{base}`",
            f"at most {limit} x",
            f"{costs[command] / costs[base]:.2f} x ({costs[command]:.2f} s : {costs[base]:.2f} s)",
            costs[command] / costs[base],
            limit,
            is_cost=True,
        )
        for command, (base, limit) in starts.LIMITS.items()
    ]


def import_of_an_export(costs: Sequence[tuple[float, float]]) -> Figure:
    """Return the figure of an import with evidence of consent."""
    ours, bare = (statistics.median(taken) for taken in zip(*costs, strict=True))
    return Figure(
        "processor time of importing a Mailchimp export of 21 columns : `csv.reader` and "
        "`executemany` of the same rows",
        f"at most {imports.LIMIT} x",
        f"{imports.ratio(costs):.2f} x ({ours:.2f} s : {bare:.2f} s)",
        imports.ratio(costs),
        imports.LIMIT,
        is_cost=True,
    )


def classifying_of_returned_mails(costs: Sequence[tuple[float, float]]) -> Figure:
    """Return the figure of reading mails that come back."""
    ours, parser = (statistics.median(taken) for taken in zip(*costs, strict=True))
    return Figure(
        "processor time of classifying a returned mail : `email.message_from_bytes` of the same",
        f"at most {classifying.LIMIT} x",
        f"{classifying.ratio(costs):.2f} x ({ours:.0f} µs : {parser:.0f} µs)",
        classifying.ratio(costs),
        classifying.LIMIT,
        is_cost=True,
    )


def events_by_hook(costs: Sequence[tuple[float, float]]) -> Figure:
    """Return the figure of a provider's event."""
    event, empty = (1e6 * statistics.median(taken) for taken in zip(*costs, strict=True))
    return Figure(
        f"processor time of a signed bounce by its hook, {hooks.RATE} a second, all that it does "
        "included : an empty POST route",
        f"at most {hooks.LIMIT:g} x",
        f"{hooks.ratio(costs):.2f} x ({event:,.0f} µs : {empty:,.0f} µs)",
        hooks.ratio(costs),
        hooks.LIMIT,
        is_cost=True,
    )


def plan_of_an_edition(costs: Sequence[tuple[float, float]]) -> Figure:
    """Return the figure of a plan."""
    taken, least = (statistics.median(each) for each in zip(*costs, strict=True))
    return Figure(
        "processor time of `newsletter plan` with 1,000,000 readers : of the queries by which a "
        "freeze finds them",
        f"at most {planning.LIMIT:g} x",
        f"{planning.ratio(costs):.2f} x ({taken:.1f} s : {least:.1f} s)",
        planning.ratio(costs),
        planning.LIMIT,
        is_cost=True,
    )


def readings_of_all(costs: Mapping[str, Sequence[tuple[float, float]]]) -> list[Figure]:
    """Return the figures of what monitoring reads."""
    few, many = (f"{count:,}" for count in scraping.READERS)
    found = []
    for name, what in (
        ("scrape", "a scrape of all metrics"),
        ("watchdog", "a look of the watchdog"),
    ):
        large, small = (statistics.median(taken) for taken in zip(*costs[name], strict=True))
        found.append(
            Figure(
                f"time of {what} with {many} readers who have had {scraping.MAILS} mails each : "
                f"with {few}",
                f"at most {scraping.LIMIT:g} x",
                f"{scraping.ratio(costs[name]):.2f} x ({large:.0f} ms : {small:.0f} ms)",
                scraping.ratio(costs[name]),
                scraping.LIMIT,
                is_cost=True,
            )
        )
    return found


def pages_of_the_desk(costs: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """Return the figures of the slowest page of the desk, of the one that grows most, and sizes."""
    found = {path: desk.Cost(**cost) for path, cost in costs.items()}
    few, many = (f"{count:,}" for count in desk.READERS)
    path, cost = desk.slowest(found)
    grown, growth = desk.most_grown(found)
    big, size = desk.largest(found)
    return [
        Figure(
            f"server time of the slowest page of the desk with {many} readers : of /healthz",
            f"at most {desk.LIMIT:g} x",
            f"{cost.many / cost.healthz:.1f} x ({path}, {cost.many:.1f} ms : "
            f"{cost.healthz:.1f} ms)",
            cost.many / cost.healthz,
            desk.LIMIT,
            is_cost=True,
        ),
        Figure(
            f"server time of a page of the desk with {many} readers : with {few}, at most",
            f"at most {desk.GROWTH_LIMIT:g} x",
            f"{growth.many / growth.few:.2f} x ({grown}, {growth.many:.1f} ms : "
            f"{growth.few:.1f} ms)",
            growth.many / growth.few,
            desk.GROWTH_LIMIT,
            is_cost=True,
        ),
        Figure(
            f"octets of the largest page of the desk with {many} readers",
            f"at most {desk.LARGEST:,}",
            f"{size.octets:,} ({big})",
            size.octets,
            desk.LARGEST,
            is_cost=True,
        ),
    ]


def write(results: Mapping[str, Any], docs: Path) -> list[Figure]:
    """Write the page and its charts; return the figures in it."""
    runs: Runs = results["runs"]
    before = json.loads((_HERE / "before.json").read_text())
    found = [*figures(runs), *writes_of_databases(before["writes"], results["writes"])]
    found += [growth_of_feeds(results["feeds"]), *starts_of_commands(results["starts"])]
    found.append(import_of_an_export(results["imports"]))
    found.append(events_by_hook(results["hooks"]))
    found.append(classifying_of_returned_mails(results["classifying"]))
    found.append(plan_of_an_edition(results["planning"]))
    found += readings_of_all(results["scraping"])
    found += pages_of_the_desk(results["desk"])
    images = docs / "images"
    (images / "performance-rates.svg").write_text(_rates(runs))
    (images / "performance-far.svg").write_text(_far(runs))
    (images / "performance-profile.svg").write_text(_profiles(before, results))
    template = (_HERE / "performance.md").read_text()
    filled = {
        "at": results["at"],
        "rounds": "1 round" if results["rounds"] == 1 else f"{results['rounds']} rounds",
        "octets": f"{results['octets']:,}",
        "figures": _figures_table(found),
        "machine": _machine_table(results["machine"]),
        "runs": _runs_table(runs),
        "profile": _profile_table(before, results),
        "security": _security_table(runs, results["calls"]),
        "feeds": _feeds_table(results["feeds"]),
        "uvloop": f"{_ratio(runs, 'SQLite', 'aiosmtplib-uvloop', rate):.2f}",
        "rate_before": f"{before['rate']:,.0f}",
        "rate_after": f"{_typical(runs, 'SQLite', rate):,.0f}",
    }
    for name, text in filled.items():
        template = template.replace(f"<!-- {name} -->", text)
    (docs / "performance.md").write_text(template)
    return found


def _figures_table(found: Sequence[Figure]) -> str:
    rows = [
        f"| {each.what} | {each.wanted} | {each.measured} | {'yes' if each.holds else '**no**'} |"
        for each in found
    ]
    return "\n".join(["| what | at least | measured | holds |", "|---|---|---|---|", *rows])


def _machine_table(machine: Mapping[str, str]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in machine.items())]
    )


def _runs_table(runs: Runs) -> str:
    rows = [
        "| run | messages | messages/s, round by round | CPU each | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name, found in runs.items():
        rates = ", ".join(f"{rate(run):,.0f}" for run in found)
        is_ours = found[0]["cpu_seconds"] > 0
        used = f"{_typical(runs, name, cpu):,.0f} µs" if is_ours else ""
        # Below that it is the memory of the meter itself.
        is_known = _typical(runs, name, peak) > 20
        memory = f"{_typical(runs, name, peak):,.0f} MB" if is_known else ""
        rows.append(f"| {name} | {found[0]['messages']:,.0f} | {rates} | {used} | {memory} |")
    return "\n".join(rows)


def _profile_table(before: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    after = results["profile"]
    if not after:
        return "No profile was taken: py-spy is not here."
    then, now = before["cpu"], _typical(results["runs"], "SQLite", cpu)
    rows = ["| room | before | after |", "|---|---|---|"]
    for room in sorted(
        {*before["profile"], *after}, key=lambda room: -before["profile"].get(room, 0)
    ):
        shares = before["profile"].get(room, 0), after.get(room, 0)
        rows.append(f"| {room} | {then * shares[0]:.0f} µs | {now * shares[1]:.0f} µs |")
    rows.append(f"| **all** | **{then:.0f} µs** | **{now:.0f} µs** |")
    return "\n".join(rows)


def _security_table(runs: Runs, calls: Mapping[str, Mapping[str, float]]) -> str:
    plain, safe = (_typical(runs, f"{name}, 10,000 readers", cpu) for name in ("plain", "STARTTLS"))
    rows = [
        "| processor time of the sender | plain | STARTTLS and a password |",
        "|---|---|---|",
        f"| for each message | {plain:,.0f} µs | {safe:,.0f} µs |",
    ]
    named = {
        "first": "for the first connection, which reads the certificates of the machine",
        "full": "for each further one, with a full handshake",
        "resumed": "for each further one to the same relay, with its session",
    }
    for key, what in named.items():
        before, after = (calls[name][key] / 1000 for name in ("plain", "starttls"))
        rows.append(f"| {what} | {before:.1f} ms | {after:.1f} ms |")
    return "\n".join(rows)


def _feeds_table(costs: Feeds) -> str:
    sizes = " | ".join(f"{size // 1000:,} kB" for size in feeds.SIZES)
    rows = [f"| kind | {sizes} |", "|---|" + "---|" * len(feeds.SIZES)]
    dearest = sorted(costs, key=lambda kind: -costs[kind][-1])[:10]
    rows += [
        f"| {kind} | {' | '.join(f'{taken:.2f} s' for taken in costs[kind])} |" for kind in dearest
    ]
    return "\n".join(rows)


def _rates(runs: Runs) -> str:
    return _bars(
        "Messages a second: one process, 50 connections, the same machine",
        {
            "smtp-source (Postfix, C)": "smtp-source",
            "newsletter send, SQLite": "SQLite",
            "newsletter send, PostgreSQL": "PostgreSQL",
            "aiosmtplib on uvloop": "aiosmtplib-uvloop",
            "aiosmtplib": "aiosmtplib",
            "render and send per reader": "usual",
        },
        runs,
    )


def _far(runs: Runs) -> str:
    return _bars(
        "Messages a second: a server 20 ms away, 10 connections each",
        {
            "two newsletter workers": "far PostgreSQL, 2 workers",
            "one newsletter worker": "far PostgreSQL, 1 workers",
            "newsletter send, SQLite": "far SQLite",
            "aiosmtplib": "far aiosmtplib",
        },
        runs,
    )


def _bars(title: str, named: Mapping[str, str], runs: Runs) -> str:
    """Draw the rates of some runs, ours in their own shade."""
    return charts.bars(
        title,
        [
            (label, [rate(run) for run in runs[name]], "newsletter" in label)
            for label, name in named.items()
        ],
    )


def _profiles(before: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    now = _typical(results["runs"], "SQLite", cpu)
    return charts.stacks(
        "Processor time for one message, by room (µs)",
        [
            ("before", {room: share * before["cpu"] for room, share in before["profile"].items()}),
            ("after", {room: share * now for room, share in results["profile"].items()}),
        ],
    )
