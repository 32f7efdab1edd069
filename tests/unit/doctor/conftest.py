"""The DNS of a publisher, to be judged with changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from zones import RELAY, Zone, right

from newsletter.doctor import domain
from newsletter.doctor.findings import Finding
from newsletter.doctor.records.answers import Kind
from newsletter.settings import Settings


@pytest.fixture
def look(settings: Callable[..., Settings]) -> Callable[..., list[Finding]]:
    """Judge the right DNS with changes: None takes a name away; settings are keywords."""

    def look(
        changes: Mapping[str, Mapping[Kind, Sequence[str] | str] | None] | None = None,
        **kwargs: Any,
    ) -> list[Finding]:
        zone = {**right(), **(changes or {})}
        lookup = Zone({name: kinds for name, kinds in zone.items() if kinds is not None})
        found = domain.findings(settings(**{**RELAY, **kwargs}), lookup)
        assert len({(one.id, one.subject) for one in found}) == len(found), "kept by id and subject"
        return found

    return look
