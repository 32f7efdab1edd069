"""The prefetch buffer: the jobs that a worker has claimed but not begun.

A job whose domain has its maximum of concurrent messages is parked in the buffer until one of them
is done; a job whose domain is paused is given back to the queue, under its blocked domain.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from newsletter.ledger.queue import Claim
from newsletter.rendering.message import CompiledMessage
from newsletter.sender import domain_limits
from newsletter.sender.budget import RatePermit
from newsletter.sender.domain_limits import Allowance, domain_of
from newsletter.sender.loop import loop_time
from newsletter.smtp.session import Mail


@dataclass(slots=True)
class Job:
    """A claim; its mail is made when it is taken, as the bytes of a whole buffer would be large."""

    claim: Claim
    compiled: CompiledMessage
    values: Sequence[bytes]
    mail: Mail | None = None
    #: The domain whose concurrent messages include this job; empty if the domain has no limit.
    domain: str = ""
    #: The permit of the rate limit for all mail, until the body is sent.
    permit: RatePermit | None = None


class Prefetch:
    """The jobs of one worker; used from its loop only."""

    def __init__(
        self,
        *,
        allowed: Callable[[], Mapping[str, Allowance]],
        put_back: Callable[[int, str | None], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._allowed = allowed
        self._put_back = put_back
        self._clock = clock
        self._jobs: deque[Job] = deque()
        #: The number of concurrent messages to each limited domain, and the jobs that wait for
        #: them.
        self._busy: Counter[str] = Counter()
        self._parked: dict[str, deque[Job]] = {}
        #: Paused domains, with the end of each pause.
        self._paused: dict[str, datetime] = {}
        #: The time of the next claim, on the loop's clock; infinite if no row will be due.
        self.look_at = 0.0

    def __len__(self) -> int:
        """Return the number of jobs that are not parked."""
        return len(self._jobs)

    @property
    def is_waiting(self) -> bool:
        """Whether more jobs may become ready when current messages are done."""
        return bool(self._parked or self._busy)

    def may_look(self) -> bool:
        """Return whether it is time for the next claim."""
        return loop_time() >= self.look_at

    def look_by(self, at: float) -> None:
        """Make the next claim no later than `at`."""
        self.look_at = min(self.look_at, at)

    def add(self, jobs: Iterable[Job]) -> None:
        """Append claimed jobs."""
        self._jobs.extend(jobs)

    def requeue(self, job: Job) -> None:
        """Put a job that is to be tried again in front of all others."""
        self._jobs.appendleft(job)

    def pop(self) -> Job | None:
        """Return the next job whose domain allows one more message now."""
        while self._jobs:
            job = self._jobs.popleft()
            if not (self._paused or self._allowed()) or self._may_go(job):
                return job
        return None

    def free(self, job: Job) -> None:
        """Stop counting a job as a concurrent message to its domain."""
        domain, job.domain = job.domain, ""
        if not domain:
            return
        self._busy[domain] -= 1
        if not self._busy[domain]:
            del self._busy[domain]
        if domain in self._parked:
            self.unpark()
        else:
            allowance = self._allowed().get(domain)
            if allowance is not None and allowance.again_at is None:
                # No job of this domain is left in the buffer, but the queue may have more of its
                # rows.
                self.look_by(loop_time())

    def unpark(self) -> None:
        """Move parked jobs that may be sent now back to the front."""
        for domain in list(self._parked):
            jobs = self._parked[domain]
            allowance = self._allowed().get(domain)
            free = len(jobs)
            if allowance is not None and allowance.share:
                free = allowance.share - self._busy[domain]
            # Without a share, another worker sends to the domain, and the jobs are given back when
            # popped.
            taken = [jobs.popleft() for _ in range(min(max(free, 0), len(jobs)))]
            self._jobs.extendleft(reversed(taken))
            if not jobs:
                del self._parked[domain]

    def is_paused(self, domain: str) -> bool:
        """Return whether a domain is known to be paused now."""
        return domain_limits.is_paused(self._paused.get(domain), self._clock())

    def pause(self, domains: Mapping[str, datetime]) -> None:
        """Send nothing to these domains until the end of their pauses."""
        self._paused |= domains

    def mailings(self) -> frozenset[int]:
        """Return the mailings of all jobs."""
        return frozenset(job.claim.mailing_id for job in self._all())

    def holding(self) -> Counter[str]:
        """Return the number of jobs by domain, in the buffer or being sent."""
        return self._busy + Counter(domain_of(job.claim.address) for job in self._all())

    def give_back(self, mailings: Collection[int]) -> None:
        """Give the jobs of these mailings back to the queue."""
        for jobs in (self._jobs, *self._parked.values()) if mailings else ():
            for _ in range(len(jobs)):
                job = jobs.popleft()
                if job.claim.mailing_id in mailings:
                    self._put_back(job.claim.id, None)
                else:
                    jobs.append(job)
        self.unpark()

    def _may_go(self, job: Job) -> bool:
        """Return whether a job may be sent now; otherwise park it or give it back to the queue."""
        domain = domain_of(job.claim.address)
        allowance = self._allowed().get(domain)
        is_paused = self.is_paused(domain)
        if not is_paused:
            self._paused.pop(domain, None)
        if is_paused or (allowance is not None and not allowance.share):
            self._put_back(job.claim.id, domain)
            # The job can be claimed again once its domain allows more.
            self.look_by(loop_time())
            return False
        if allowance is None:
            return True
        if self._busy[domain] >= allowance.share:
            self._parked.setdefault(domain, deque()).append(job)
            return False
        self._busy[domain] += 1
        job.domain = domain
        return True

    def _all(self) -> Iterator[Job]:
        yield from self._jobs
        for jobs in self._parked.values():
            yield from jobs
