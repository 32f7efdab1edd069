"""`newsletter suppression`, as an operator at a terminal sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terminal import Run


def test_the_way_out_of_a_list_that_is_not_understood_is_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gone.csv").write_text("email,reason\nann@x.org,no such user\n")

    stopped = run("suppression", "import", "gone.csv")
    assert stopped.code == 2
    assert "--ignore-column reason" in stopped.err

    ran = run("suppression", "import", "gone.csv", "--ignore-column", "reason", "--json")
    assert ran.json["added"] == 1


def test_suppressions_travel_by_commands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ses.csv").write_text(
        "emailAddress,reason\nann@x.org,BOUNCE\nbob@x.org,COMPLAINT\nno address,BOUNCE\n"
    )
    dry = run("suppression", "import", "ses.csv", "--dry-run", "--json")
    assert (dry.json["added"], dry.json["dry_run"], dry.json["rejected_file"]) == (2, True, None)
    assert run("suppression", "list").out.strip() == "No address is suppressed."

    ran = run("suppression", "import", "ses.csv")
    assert ran.code == 0
    assert ran.out.strip() == "ses.csv: 2 suppressed, 0 suppressed before, 1 rejected of 3."
    assert "Line 4: " in ran.err
    rejected = tmp_path / "ses.csv.rejected.csv"
    assert "no address" in rejected.read_text()
    listed = run("suppression", "list", "--cause", "complaint", "--json").json
    assert [(one["address"], one["cause"]) for one in listed["suppressions"]] == [
        ("bob@x.org", "complaint")
    ]

    exported = tmp_path / "out.csv"
    assert run("suppression", "export", "out.csv", "--json").json["exported"] == 2
    for file in (rejected, exported):
        assert file.stat().st_mode & 0o777 == 0o600
    for address in ("ann@x.org", "bob@x.org"):
        run("suppression", "remove", address)
    assert run("suppression", "import", "out.csv", "--json").json["added"] == 2

    refused = run("subscribers", "add", "ann@x.org")
    assert refused.code == 1
    assert (
        "ann@x.org is suppressed (bounce: a bounce mail said that nobody is there)" in refused.err
    )
    assert "newsletter suppression remove ann@x.org" in refused.err
    assert run("suppression", "import", "out.csv", "--cause", "erased").code == 2
    assert run("suppression", "add", "ann@x.org", "--cause", "erased").code == 2
    assert run("suppression", "add", "ann@x.org", "--cause", "opt-out").out.strip() == (
        "ann@x.org was suppressed already (opt-out)."
    )


def test_a_bad_day_is_undone_by_its_cause(run: Run) -> None:
    run("subscribers", "add", "ann@x.org")
    for address, cause in (("ann@x.org", "bounce"), ("bob@x.org", "bounce"), ("eve@x.org", "full")):
        run("suppression", "add", address, "--cause", cause)

    assert run("suppression", "remove").code == 2
    assert run("suppression", "remove", "ann@x.org", "--cause", "bounce").code == 2
    assert run("suppression", "remove", "--since", "2026-11-23").code == 2
    assert run("suppression", "list", "--cause", "bounce", "--since", "2000-01-01", "--json").json[
        "total"
    ] == 2  # fmt: skip
    assert run("suppression", "list", "--since", "2999-01-01").out.strip() == (
        "No address is suppressed since 2999-01-01."
    )
    later = run("suppression", "remove", "--cause", "bounce", "--since", "2999-01-01", "--json")
    assert later.json == {"removed": 0}

    undone = run("suppression", "remove", "--cause", "bounce", "--since", "2000-01-01")

    assert undone.out.strip() == "2 addresses may be mailed again."
    assert run("subscribers", "show", "ann@x.org", "--json").json["status"] == "active"
    assert run("suppression", "list", "--json").json["total"] == 1
