"""The complete list of metrics, with name, kind, labels and meaning.

Names follow Prometheus: base units, `_total` for what only increases, `_timestamp_seconds` for
instants. No label has an address, and none a value that a stranger can choose.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; a dict key in the readings."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def is_counter(self) -> bool:
        """Whether the metric is a counter, which never decreases."""
        return self.name.endswith("_total")


DELIVERIES = Metric(
    name="newsletter_deliveries",
    help="Deliveries by kind of mail and state, pruned ones included.",
    labels=("kind", "state"),
)
ENDED = Metric(
    name="newsletter_deliveries_ended_total",
    help="Deliveries that ended, by kind of mail and outcome; one that was unknown and is settled "
    "later has ended twice.",
    labels=("kind", "outcome"),
)
REPLIES = Metric(
    name="newsletter_replies_total",
    help="Tries of deliveries, by phase of the SMTP session, kind of outcome and what the worker "
    "did because of it.",
    labels=("phase", "kind", "reaction"),
)
OLDEST_DUE = Metric(
    name="newsletter_oldest_due_seconds",
    help="How long the oldest delivery has been due that waits neither for a retry nor for its "
    "domain; 0 if none is due, or all wait for a rate limit.",
)
DOMAINS_PAUSED = Metric(
    name="newsletter_domains_paused",
    help="Destination domains to which nothing is sent now, because they asked for a pause.",
)
WORKERS = Metric(
    name="newsletter_workers",
    help="Registered workers: running, or lost, whose deliveries the next one takes over.",
    labels=("state",),
)
UNKNOWN = Metric(
    name="newsletter_unknown_deliveries",
    help="Deliveries of the last 30 days that may or may not have arrived and wait for a decision.",
)
SUBSCRIBERS = Metric(
    name="newsletter_subscribers",
    help="Subscribers by status and cadence.",
    labels=("status", "cadence"),
)
SUPPRESSIONS = Metric(
    name="newsletter_suppressions_total",
    help="Addresses that were suppressed, by cause; again for a graver one counts again.",
    labels=("reason",),
)
REPORTS = Metric(
    name="newsletter_reports_total",
    help="Reports that came back, by source (mail or the provider) and kind.",
    labels=("source", "kind"),
)
REPORTS_UNPLACED = Metric(
    name="newsletter_reports_unplaced_total",
    help="Reports that came back and name no mail of ours, by source.",
    labels=("source",),
)
EDITION_OVERDUE = Metric(
    name="newsletter_edition_overdue_seconds",
    help="How long the edition of a cadence has been due that has readers and was neither made "
    "nor skipped; 0 if none is.",
    labels=("cadence",),
)
EDITION_FINISHED = Metric(
    name="newsletter_edition_finished_timestamp_seconds",
    help="When the last edition of a cadence was finished, in seconds since 1970; 0 if none was.",
    labels=("cadence",),
)
CRON_SUCCESS = Metric(
    name="newsletter_cron_last_success_timestamp_seconds",
    help="When the last run of cron, or of the schedule of a worker, ended without an error, in "
    "seconds since 1970; 0 if none did.",
)
FEED_SUCCESS = Metric(
    name="newsletter_feed_last_success_timestamp_seconds",
    help="When a feed was last read with success, in seconds since 1970; 0 if it never was; its "
    "label is its URL without password and query, and of several with the same one the oldest "
    "counts.",
    labels=("feed",),
)
QUARANTINED = Metric(
    name="newsletter_quarantined_articles",
    help="Articles that wait for approval, without the archives of new feeds.",
)
FINDING = Metric(
    name="newsletter_finding",
    help="What the doctor found in its last run, by finding and level: about how many subjects.",
    labels=("id", "level"),
)

#: All metrics, in the order of the output.
ALL = (
    *(DELIVERIES, ENDED, REPLIES, OLDEST_DUE, DOMAINS_PAUSED, WORKERS, UNKNOWN, SUBSCRIBERS),
    *(SUPPRESSIONS, REPORTS, REPORTS_UNPLACED, EDITION_OVERDUE, EDITION_FINISHED, CRON_SUCCESS),
    *(FEED_SUCCESS, QUARANTINED, FINDING),
)
