"""The supply of a worker: claims rows ahead of its connections and composes their messages.

Claims arrive in batches and wait in the prefetch buffer, with their slot values but not yet joined
to bytes. A connection takes a job together with a permit of the rate limit; both can be given back
as long as nothing about the message was sent to a server.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby, islice

from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.errors import NewsletterError, RenderError
from newsletter.ledger import books
from newsletter.ledger.queue import Claim
from newsletter.rendering.message import CompiledMessage, Slot
from newsletter.sender.budget import PATIENCE_SECONDS, Budget, RatePermit
from newsletter.sender.claiming import Claiming
from newsletter.sender.committer import Committer
from newsletter.sender.loop import loop_time
from newsletter.sender.personalize import SlotValues
from newsletter.sender.plan import Plan
from newsletter.sender.prefetch import Job, Prefetch
from newsletter.sender.run_state import RunState
from newsletter.smtp.session import Envelope, Mail

#: Rows per claim for each connection; few, so that a claim delays neither marks nor the event loop.
_CLAIMS_PER_CONNECTION = 4
#: Minimum rows of a claim, which share its fixed cost.
_CLAIMS_AT_LEAST = 16
#: The next claim is made when fewer jobs than this are left for each connection.
_ENOUGH_PER_CONNECTION = 2
#: Messages composed without a break, after which other tasks of the event loop run.
_COMPOSED_AT_ONCE = 50
#: Interval at which a long-running worker polls for new rows.
_IDLE_SECONDS = 1.0
#: Interval of retries while all claimed domains have their maximum of concurrent messages.
_PARKED_SECONDS = 0.05


class Supply:
    """The jobs of one worker; used from its event loop only."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        *,
        committer: Committer,
        claiming: Claiming,
        budget: Budget,
        state: RunState,
        stays: bool,
        clock: Callable[[], datetime],
        before_claim: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._committer = committer
        self._claiming = claiming
        self._budget = budget
        self._state = state
        self._stays = stays
        self._clock = clock
        self._before_claim = before_claim
        self._prefetch = Prefetch(
            allowed=lambda: claiming.allowed, put_back=committer.put_back, clock=clock
        )
        self._refill = asyncio.Lock()
        self._prefetching: asyncio.Task[None] | None = None
        # Bounded, because a mailing has some 100 kB, and a long-running worker sends hundreds a
        # year.
        self._mailing = lru_cache(maxsize=64)(self._read_mailing)

    async def take(self) -> Job | None:
        """Return the next job; None when nothing is due, or the worker is to stop."""
        while not self._state.is_stopping:
            permit = await self._budget.permit() if self._prefetch else None
            if permit is not None and (job := self._pop(permit)) is not None:
                return job
            async with self._refill:
                if not self._prefetch and self._prefetch.may_look():
                    await self._fill()
            if self._prefetch or self._state.is_stopping:
                continue
            if self._prefetch.is_waiting:
                await self._state.wait(_PARKED_SECONDS)
            elif self._prefetch.look_at < math.inf:
                await self._state.wait(min(self._prefetch.look_at - loop_time(), _IDLE_SECONDS))
            else:
                return None
        return None

    def ready(self) -> Job | None:
        """Return a job that can be begun without waiting, if there is one."""
        if not self._prefetch or self._state.is_stopping:
            return None
        permit = self._budget.ready()
        return self._pop(permit) if permit else None

    def release(self, job: Job) -> None:
        """Give back a job's permit and place, as nothing about it was sent to a server."""
        self._prefetch.free(job)
        if job.permit is not None:
            self._budget.give_back(job.permit)
            job.permit = None

    def done(self, job: Job) -> None:
        """Free the place of a job that was tried, for another message to the domain."""
        self._prefetch.free(job)
        if job.permit is not None:
            # The message was refused before its body, which uses its permit, too.
            self._budget.stop_waiting()
            job.permit = None

    def requeue(self, job: Job) -> None:
        """Put a job that is to be tried again in front of all others."""
        self._prefetch.requeue(job)

    def is_paused(self, domain: str) -> bool:
        """Return whether a domain is paused."""
        return self._prefetch.is_paused(domain)

    def pause(self, domains: Mapping[str, datetime]) -> None:
        """Send nothing to these domains until the end of their pauses."""
        self._prefetch.pause(domains)

    async def poll_pauses(self) -> None:
        """Give back the jobs of paused editions, and read which domains other workers paused."""
        if not self._prefetch and not self._prefetch.is_waiting:
            return
        try:
            pauses = await self._committer.submit(
                partial(
                    self._claiming.poll,
                    mailings=self._prefetch.mailings(),
                    counts=self._prefetch.holding(),
                )
            )
        except NewsletterError as exc:
            self._state.stop(exc)
            return
        self._prefetch.pause(pauses.domains)
        self._prefetch.give_back(pauses.mailings)

    def _pop(self, permit: RatePermit) -> Job | None:
        """Return a job from the buffer if one may be sent now and the worker is not to stop.

        If few jobs are left, a claim is started in the background.
        """
        job = None if self._state.is_stopping else self._prefetch.pop()
        if self._is_short() and self._prefetch.may_look():
            self._claim_ahead()
        if job is None:
            self._budget.give_back(permit)
            return None
        if job.mail is None:
            job.mail = Mail(self._envelope(job), job.compiled.fill(job.values))
        job.permit = permit
        return job

    def _envelope(self, job: Job) -> Envelope:
        sender = self._plan.return_path.of(job.claim.reference)
        message_id = job.compiled.value_of(Slot.MESSAGE_ID, job.values)
        return Envelope(sender, job.claim.address, message_id.decode())

    def _is_short(self) -> bool:
        return len(self._prefetch) < self._plan.connections * _ENOUGH_PER_CONNECTION

    def _claim_ahead(self) -> None:
        async def fill() -> None:
            try:
                async with self._refill:
                    if self._is_short() and not self._state.is_stopping:
                        await self._fill()
            except NewsletterError as exc:
                self._state.stop(exc)

        if self._prefetching is None or self._prefetching.done():
            self._prefetching = asyncio.create_task(fill())

    async def _fill(self) -> None:
        self._before_claim()
        limit = max(self._plan.connections * _CLAIMS_PER_CONNECTION, _CLAIMS_AT_LEAST)
        self._prefetch.look_at = math.inf
        held = self._prefetch.holding()
        claims, again_at = await self._committer.submit(
            partial(self._claiming.claim, limit=limit, counts=held)
        )
        for mailing_id, group in groupby(claims, key=lambda claim: claim.mailing_id):
            while some := list(islice(group, _COMPOSED_AT_ONCE)):
                self._prefetch.add(self._compose(mailing_id, some))
                await asyncio.sleep(0)
        self._prefetch.unpark()
        # A domain's allowance depends on the messages held for it, which may have changed
        # meanwhile.
        holding = self._prefetch.holding()
        is_outdated = any(held[one] != holding[one] for one in self._claiming.allowed)
        self._prefetch.look_by(loop_time() if claims or is_outdated else self._next_look(again_at))

    def _next_look(self, again_at: datetime | None) -> float:
        """Return the time of the next claim, on the loop's clock, after there were no rows."""
        wait = math.inf
        if again_at is not None:
            wait = max((again_at - self._clock()).total_seconds(), 0.0)
        if self._stays:
            wait = min(wait, _IDLE_SECONDS)
        elif wait > PATIENCE_SECONDS:
            # The next run sends the remaining rows.
            wait = math.inf
        return loop_time() + wait

    def _compose(self, mailing_id: int, claims: list[Claim]) -> list[Job]:
        """Make jobs from the claims of one mailing; claims that cannot be composed are left out."""
        slot_values, compiled = self._mailing(mailing_id)
        try:
            values = self._plan.filler.values(compiled, slot_values=slot_values, claims=claims)
        except Exception as exc:  # noqa: BLE001 - one reader's message must not stop all others
            if len(claims) > 1:
                return [job for one in claims for job in self._compose(mailing_id, [one])]
            # The row stays claimed until this worker ends, so that it is not tried repeatedly.
            failure = RenderError(
                f"The message to {claims[0].reference} could not be composed: {exc}",
                hint="Nobody is blamed; it waits in the queue for a version that can compose it.",
            )
            self._state.keep(failure)
            self._state.count_failure(failure)
            return []
        return [Job(claim, compiled, each) for claim, each in zip(claims, values, strict=True)]

    def _read_mailing(self, mailing_id: int) -> tuple[SlotValues, CompiledMessage]:
        with sessions.reading(self._engine) as session:
            row = books.mailing(session, mailing_id)
        return SlotValues.of(row), CompiledMessage.load(row.subject, row.body, row.fields)
