"""Groups of findings: what passed, the worst first, and the line that sums them up."""

from __future__ import annotations

import pytest

from newsletter.doctor import findings
from newsletter.doctor.findings import Checks, Examined, Finding, Level


def finding(id_: str, level: Level = Level.ERROR) -> Finding:
    return Finding(id=id_, level=level, sentence="It is wrong.", hint="Mend it.")


def test_what_has_a_finding_has_not_passed() -> None:
    group = Examined(
        checks=Checks.DNS,
        looked_at=("spf", "dkim.key", "dmarc", "from"),
        findings=(finding("spf.one"), finding("dmarc", Level.NOT_CHECKED)),
    )

    assert group.passed == ("dkim.key", "from")


def test_a_check_is_not_taken_for_one_whose_name_begins_alike() -> None:
    group = Examined(checks=Checks.DNS, looked_at=("spf",), findings=(finding("spfx.one"),))

    assert group.passed == ("spf",)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([], "Nothing needs a look."),
        ([Level.INFO], "Nothing needs a look."),
        ([Level.NOT_CHECKED], "Nothing needs a look; 1 could not be checked."),
        ([Level.WARNING, Level.ERROR], "1 error, 1 warning."),
        ([Level.ERROR] * 2 + [Level.NOT_CHECKED] * 3, "2 errors; 3 could not be checked."),
    ],
)
def test_the_first_line_counts(levels: list[Level], expected: str) -> None:
    assert findings.summary(finding("x", level) for level in levels) == expected


def test_the_gravest_finding_says_how_grave_a_group_is() -> None:
    found = [
        Examined(checks=Checks.DNS, looked_at=(), findings=tuple(finding("x", one) for one in of))
        for of in ([Level.INFO, Level.ERROR], [Level.WARNING], [])
    ]

    assert sorted(found, key=lambda one: one.gravity) == found
