"""One run of cron: fetches feeds, sends due editions, and retries deferred deliveries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from newsletter.articles import turn
from newsletter.articles.limits import Limits
from newsletter.articles.polling import Occasion
from newsletter.articles.turn import Elsewhere
from newsletter.cadences import Cadence
from newsletter.editions import fetching, periods
from newsletter.editions import send as sending
from newsletter.editions.summaries import Summary
from newsletter.errors import NewsletterError
from newsletter.ledger.registry import Trouble
from newsletter.publication import Publication
from newsletter.sender.shutdown import Shutdown
from newsletter.subscribers import unconfirmed

if TYPE_CHECKING:
    from newsletter.articles.ingest import Result
    from newsletter.sender.plan import Plan


@dataclass(kw_only=True)
class Run:
    """The steps of a run, in their order, all at one instant."""

    engine: Engine
    now: datetime
    publication: Publication
    limits: Limits
    plan: Callable[[], Plan]
    on_trouble: Trouble
    #: The editions that the run has changed, by name, each with its last summary.
    moved: dict[str, Summary] = field(default_factory=dict)

    def fetch(self) -> list[Result] | Elsewhere:
        """Fetch the feeds that are due, unless another process is fetching."""
        fetched = turn.fetch_all(self.engine, self.limits, self.now, occasion=self._occasion)
        unconfirmed.delete(self.engine, now=self.now)
        return fetched

    def complete(
        self, fetched: list[Result] | Elsewhere, shutdown: Shutdown
    ) -> list[Result] | Elsewhere:
        """If an edition is due, wait for another process's fetch; meanwhile send open editions.

        An error while sending is ignored, because it recurs in `send`.
        """

        def meanwhile() -> None:
            with suppress(NewsletterError):
                self._resume()

        return fetching.complete(
            fetched,
            self.engine,
            self.limits,
            now=self.now,
            occasion=self._occasion,
            shutdown=shutdown,
            meanwhile=meanwhile,
        )

    def send(
        self, deliver: Callable[[Cadence], Summary], shutdown: Shutdown
    ) -> NewsletterError | None:
        """Send the due editions, and continue those that wait for a retry.

        `deliver` sends one edition. The first error is returned and not raised, so that an error
        with one edition does not delay the others.
        """
        failure: NewsletterError | None = None
        now, publication = self.now, self.publication
        for due in periods.due_editions(self.engine, now=now, publication=publication):
            if shutdown.is_wanted:
                break
            try:
                self._note([deliver(due.cadence)])
            except NewsletterError as exc:
                failure = failure or exc
                made = periods.current(self.engine, due.cadence, now=now, publication=publication)
                self._note([made] if made else [])
        if failure is None and not shutdown.is_wanted:
            self._resume()
        return failure

    @cached_property
    def _occasion(self) -> Occasion:
        return fetching.occasion(self.engine, now=self.now, publication=self.publication)

    def _resume(self) -> None:
        self._note(
            sending.resume(
                self.engine,
                now=self.now,
                publication=self.publication,
                plan=self.plan,
                on_trouble=self.on_trouble,
            )
        )

    def _note(self, summaries: list[Summary]) -> None:
        self.moved.update((one.edition, one) for one in summaries)
