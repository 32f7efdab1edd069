"""The prefetch buffer: the jobs that a worker has claimed and not begun, and which may go now.

A job whose domain has as many messages under way as it takes is parked here until one of them is
done; a job whose domain takes none is given back to the queue, under its blocked domain.
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
    """A claim, and its mail once it is taken: the bytes of a whole buffer would be large."""

    claim: Claim
    compiled: CompiledMessage
    values: Sequence[bytes]
    mail: Mail | None = None
    #: The domain under which it counts as under way, if that domain is limited.
    domain: str = ""
    #: Its permit of the rate limit for all mail, until its body is sent.
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
        #: Messages under way to each domain that is limited, and jobs that wait for one of them.
        self._busy: Counter[str] = Counter()
        self._parked: dict[str, deque[Job]] = {}
        #: Paused domains, and until when.
        self._paused: dict[str, datetime] = {}
        #: When to look for new rows again, on the loop's clock; infinite once none is due.
        self.look_at = 0.0

    def __len__(self) -> int:
        """Return how many jobs could be taken up, as far as is known."""
        return len(self._jobs)

    @property
    def is_waiting(self) -> bool:
        """Whether more jobs may become ready once those under way are done."""
        return bool(self._parked or self._busy)

    def may_look(self) -> bool:
        """Tell whether it is time to look for new rows."""
        return loop_time() >= self.look_at

    def look_by(self, at: float) -> None:
        """Look for new rows no later than that."""
        self.look_at = min(self.look_at, at)

    def add(self, jobs: Iterable[Job]) -> None:
        """Append what was claimed."""
        self._jobs.extend(jobs)

    def requeue(self, job: Job) -> None:
        """Put a job that is to be tried again before all others."""
        self._jobs.appendleft(job)

    def pop(self) -> Job | None:
        """Return the next job whose domain takes one more now."""
        while self._jobs:
            job = self._jobs.popleft()
            if not (self._paused or self._allowed()) or self._may_go(job):
                return job
        return None

    def free(self, job: Job) -> None:
        """Count a job as no longer under way to its domain."""
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
                # No job of this domain is left here; more of its rows may wait in the queue.
                self.look_by(loop_time())

    def unpark(self) -> None:
        """Move parked jobs that may go now back to the front."""
        for domain in list(self._parked):
            jobs = self._parked[domain]
            allowance = self._allowed().get(domain)
            free = len(jobs)
            if allowance is not None and allowance.share:
                free = allowance.share - self._busy[domain]
            # Without a share it is another worker's turn: they are given back when popped.
            taken = [jobs.popleft() for _ in range(min(max(free, 0), len(jobs)))]
            self._jobs.extendleft(reversed(taken))
            if not jobs:
                del self._parked[domain]

    def is_paused(self, domain: str) -> bool:
        """Tell whether a domain is known to be paused now."""
        return domain_limits.is_paused(self._paused.get(domain), self._clock())

    def pause(self, domains: Mapping[str, datetime]) -> None:
        """Send nothing to these domains until their times."""
        self._paused |= domains

    def mailings(self) -> frozenset[int]:
        """Return the mailings that a job is of."""
        return frozenset(job.claim.mailing_id for job in self._all())

    def holding(self) -> Counter[str]:
        """Count the jobs that are here or under way, by domain."""
        return self._busy + Counter(domain_of(job.claim.address) for job in self._all())

    def give_back(self, mailings: Collection[int]) -> None:
        """Give back to the queue the jobs of these mailings."""
        for jobs in (self._jobs, *self._parked.values()) if mailings else ():
            for _ in range(len(jobs)):
                job = jobs.popleft()
                if job.claim.mailing_id in mailings:
                    self._put_back(job.claim.id, None)
                else:
                    jobs.append(job)
        self.unpark()

    def _may_go(self, job: Job) -> bool:
        """Tell whether a job's domain takes one more now; else park the job, or give it back."""
        domain = domain_of(job.claim.address)
        allowance = self._allowed().get(domain)
        is_paused = self.is_paused(domain)
        if not is_paused:
            self._paused.pop(domain, None)
        if is_paused or (allowance is not None and not allowance.share):
            self._put_back(job.claim.id, domain)
            # It can be claimed again once its domain takes more.
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
