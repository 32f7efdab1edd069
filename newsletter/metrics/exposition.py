"""Formats the metrics as text for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from newsletter import clock
from newsletter.db import session as sessions
from newsletter.metrics import catalog, readings
from newsletter.metrics.catalog import Metric
from newsletter.metrics.readings import Values
from newsletter.publication import Publication
from newsletter.sender.limits import Limits


def scrape(
    engine: Engine, publication: Publication, limits: Limits, *, accept: str = ""
) -> tuple[bytes, str]:
    """Return all current metrics and their content type, in the format that `accept` requests.

    Raises DatabaseUnavailable.
    """
    with sessions.reading(engine) as session:
        found = dict(
            readings.read(session, publication=publication, rules=limits, now=clock.utc_now())
        )
    assert tuple(found) == catalog.ALL
    write, content_type = _writer(accept)
    return write(_registry(found.items())), content_type


def _registry(found: Iterable[tuple[Metric, Values]]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(found))
    return registry


def _writer(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """Choose a format by the Accept header; without one, the format that all versions can read."""
    try:
        write, content_type = exposition.choose_encoder(accept)
    except (TypeError, ValueError):
        # The header names a version that is no number.
        write, content_type = exposition.choose_encoder("")
    return write, content_type


class _Collector(Collector):
    """The values that were read, as metric families of prometheus-client."""

    def __init__(self, found: Iterable[tuple[Metric, Values]]) -> None:
        self._found = found

    def collect(self) -> Iterator[Family]:
        for metric, values in self._found:
            kind = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(list(labels), value)
            yield family
