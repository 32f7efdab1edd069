"""The actions of editors, as `articles show` and `editions show` print them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from newsletter.cli import output

if TYPE_CHECKING:
    from newsletter.models import Audit


def as_json(acts: Iterable[Audit]) -> list[dict[str, Any]]:
    return [one.model_dump(include={"at", "actor", "action"}) for one in acts]


def say(acts: Iterable[Audit], zone: ZoneInfo) -> None:
    for one in acts:
        at = one.at.astimezone(zone)
        output.say(f"{at:%Y-%m-%d %H:%M %Z}: {one.action.partition('.')[2]}, by {one.actor}")
