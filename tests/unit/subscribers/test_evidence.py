from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from newsletter.subscribers import evidence
from newsletter.subscribers.evidence import Evidence

TIMES = st.none() | st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the bound must be naive
TEXTS = st.none() | st.text(max_size=20)


@given(st.lists(st.builds(Evidence, TIMES, TEXTS, TIMES, TEXTS, TEXTS, TEXTS), max_size=6))
def test_evidence_is_stored_as_one_json_object_of_what_is_known(each: list[Evidence]) -> None:
    stored = evidence.to_json([*each, *each])

    assert stored == [*map(written, each), *map(written, each)]
    assert [evidence.from_json(one) for one in stored[: len(each)]] == [
        Evidence(*(value or None for value in one)) for one in each
    ]


def written(one: Evidence) -> str | None:
    known = {name: value for name, value in one._asdict().items() if value}
    return json.dumps(known, default=datetime.isoformat, ensure_ascii=False) if known else None
