"""Findings as text and as JSON, by groups and the worst first; DNS records have their own lines.

Sentences may quote DNS, servers and mails: all of them go through `output.printable`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from newsletter import clock
from newsletter.cli import output
from newsletter.doctor import findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from newsletter.doctor.findings import Examined, Finding

#: The width of the longest level.
_WIDTH = 11
#: A finding is new for so long: its first occurrence is not printed then.
_NEW = timedelta(days=1)


def show(
    examined: Sequence[Examined], since: Mapping[tuple[str, str], datetime], *, unseen: str = ""
) -> None:
    """Print a summary, each group with its findings and passed checks, and what was not checked."""
    output.say(findings.summary(one for group in examined for one in group.findings))
    for group in sorted(examined, key=lambda group: group.gravity):
        output.say("")
        if not group.findings:
            output.say(f"{group.checks}: in order ({', '.join(group.passed)})")
            continue
        output.say(str(group.checks))
        for finding in sorted(group.findings, key=findings.gravity):
            _show(finding, since.get((finding.id, finding.subject)))
        if group.passed:
            output.say(f"  in order: {', '.join(group.passed)}")
    if unseen:
        output.say("")
        output.say(unseen)


def bullets(found: Sequence[Finding]) -> None:
    """Print findings as a plain list, with their hints."""
    for finding in found:
        output.say(output.printable(f"- {finding.sentence} {finding.hint}".rstrip()))


def as_json(
    examined: Sequence[Examined], since: Mapping[tuple[str, str], datetime], **more: object
) -> dict[str, Any]:
    """Return the findings as one JSON object; `more` is added to it."""
    found = [one for group in examined for one in group.findings]
    return {
        "summary": findings.summary(found),
        "findings": [
            {
                **asdict(one),
                "checks": group.checks,
                "first_at": since.get((one.id, one.subject)),
            }
            for group in examined
            for one in group.findings
        ],
        "passed": {group.checks: group.passed for group in examined},
        **more,
    }


def _show(finding: Finding, since: datetime | None) -> None:
    indent = " " * (_WIDTH + 4)
    output.say(output.printable(f"  {finding.level:<{_WIDTH}}  {finding.sentence}"))
    if finding.hint:
        output.say(output.printable(f"{indent}{finding.hint}"))
    is_old = since is not None and clock.utc_now() - since > _NEW
    when = f", since {since:%Y-%m-%d}" if is_old else ""
    output.say(output.printable(f"{indent}({finding.id}{when})"))
    if finding.record:
        # From the first column, so that a whole line can be copied.
        output.say(output.printable(finding.record))
