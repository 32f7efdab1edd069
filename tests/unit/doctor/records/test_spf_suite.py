"""The openspf.org test suite for RFC 7208 (tests/samples/spf, with its licence)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from zones import FAILS

from newsletter.doctor.records import spf
from newsletter.doctor.records.answers import Answer, Kind

SUITE = Path(__file__).parents[3] / "samples" / "spf" / "rfc7208-tests.yml"


def scenarios() -> list[Any]:
    """Return each case with the zone of its scenario."""
    documents = list(
        yaml.load_all(SUITE.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    )
    return [
        pytest.param(case, document["zonedata"], id=name)
        for document in documents
        for name, case in document["tests"].items()
    ]


class Suite:
    """DNS as the suite writes it: SPF stands for TXT where a name has no TXT."""

    def __init__(self, zone: dict[str, list[Any]]) -> None:
        self._zone = {name.lower(): records for name, records in zone.items()}

    def __call__(self, name: str, kind: Kind) -> Answer:
        records = self._zone.get(name.lower())
        if records is None:
            return Answer(exists=False)
        if alias := next((one["CNAME"] for one in records if "CNAME" in one), None):
            return self(alias, kind)
        values = [value for one in records if isinstance(one, dict) for value in one.items()]
        has_texts = any(key == "TXT" for key, _ in values)
        found = []
        for key, value in values:
            if key == kind or (key == "SPF" and kind == "TXT" and not has_texts):
                if value == "TIMEOUT":
                    return Answer(failure=FAILS)
                if value != "NONE":
                    found.append(value)
        if not found and "TIMEOUT" in records:
            return Answer(failure=FAILS)
        if kind == "PTR":
            found = [host.removesuffix(".") for host in found]
        if kind == "MX":
            found = [host.removesuffix(".") for _, host in sorted(found, key=lambda one: one[0])]
        return Answer(records=tuple(map(text, found)))


def text(value: str | list[str]) -> str:
    """Return a record as plain values have it."""
    joined = value if isinstance(value, str) else "".join(value)
    return joined.encode().decode("latin-1")


@pytest.mark.parametrize(("case", "zone"), scenarios())
def test_our_result_is_one_that_the_suite_allows(case: dict[str, Any], zone: Any) -> None:
    sender = case["mailfrom"] or f"postmaster@{case['helo']}"
    lookup = Suite(zone)

    verdict = spf.check_host(
        case["host"], sender.rpartition("@")[2], sender, lookup, helo=case["helo"]
    )

    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert verdict.result in allowed, (verdict, case)
