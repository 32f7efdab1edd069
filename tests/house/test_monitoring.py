"""The alert rules and the dashboard: well formed, and about metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from newsletter.cli.app import program
from newsletter.metrics import catalog
from newsletter.models import Kind, State
from newsletter.models.suppression import Cause

DOCS = Path(__file__).parents[2] / "docs"
RULES = yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((DOCS / "grafana.json").read_text("utf-8"))
METRICS = {metric.name: metric for metric in catalog.ALL}
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
#: The values that labels of a closed set can have, by metric and label.
_VALUES: dict[tuple[str, str], set[str]] = {
    ("newsletter_deliveries", "kind"): {*Kind},
    ("newsletter_deliveries", "state"): {*State},
    ("newsletter_deliveries_ended_total", "outcome"): {*State},
    ("newsletter_workers", "state"): {"running", "lost"},
    ("newsletter_suppressions_total", "reason"): {*Cause},
}


def panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions() -> list[str]:
    of_panels = (target["expr"] for panel in panels() for target in panel.get("targets", ()))
    return [*(rule["expr"] for rule in RULES), *of_panels]


@pytest.mark.parametrize("expression", expressions())
def test_each_expression_is_about_metrics_that_exist(expression: str) -> None:
    named = re.findall(r"(newsletter_\w+)(?:\{([^}]*)\})?", expression)

    assert named
    for name, matchers in named:
        assert name in METRICS
        for label, values in _MATCHER.findall(matchers):
            assert label in METRICS[name].labels
            if known := _VALUES.get((name, label)):
                assert set(values.split("|")) <= known
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        labels = {label for name, _ in named for label in METRICS[name].labels}
        assert {one.strip() for one in group.split(",") if one.strip()} <= labels
    assert expression.count("(") == expression.count(")")


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    commands = set(program().commands)
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        notes = rule["annotations"]
        assert notes["summary"].endswith(".")
        assert notes["description"].endswith(".")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        for command in re.findall(r"newsletter ([a-z]+)\b", notes["description"]):
            assert command in commands


def test_promtool_takes_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool of Prometheus is not installed")
    rules = [{"record": f"shown:{n}", "expr": one} for n, one in enumerate(expressions())]
    shown = tmp_path / "shown.yml"
    shown.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))

    for file in (DOCS / "alerts.yml", shown):
        ran = subprocess.run([promtool, "check", "rules", file], capture_output=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_panel_says_what_it_shows_and_none_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in panels()}) == len([*panels()])
    for panel in panels():
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["targets"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for one in expressions() for name in re.findall(r"newsletter_\w+", one)}

    assert shown == set(METRICS)
