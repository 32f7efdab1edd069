"""Claims due rows for a worker, within the limits of their domains.

Rows of a domain that is at its limit are marked with its name (`blocked_domain`), so that later
claims need not skip them one by one; they are claimed by domain once the limit allows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select
from sqlmodel import Session

from newsletter.db.engine import is_sqlite
from newsletter.ledger import queue
from newsletter.ledger.holding import Hold
from newsletter.ledger.queue import BlockedDomain, Claim, Verdict
from newsletter.sender import domain_limits, limits
from newsletter.sender.domain_limits import Allowance
from newsletter.sender.limits import Limits

#: Maximum number of claims in one transaction, repeated if all rows belonged to blocked domains.
_CLAIMS_AT_MOST = 20
#: Maximum number of blocked domains checked in one transaction, as there may be any number of them.
_BLOCKED_DOMAINS_AT_MOST = 200


class Claimed(NamedTuple):
    """The claims, and the time at which more rows can be claimed; None if no row waits."""

    claims: list[Claim]
    again_at: datetime | None


class Pauses(NamedTuple):
    """The mailings that the operator paused and the domains that a worker paused."""

    mailings: set[int]
    #: Paused domains, with the end of each pause.
    domains: dict[str, datetime]


class Claiming:
    """Makes the claims of one worker, and keeps the limits of domains that it has read.

    The methods take Session and time of a transaction of the committer. `counts` has the number of
    messages that the worker holds for each domain.
    """

    def __init__(
        self,
        hold: Hold,
        rules: Limits,
        *,
        mailings: Select[Any] | None = None,
        excluded: Select[Any] | None = None,
    ) -> None:
        self._hold = hold
        self._limits = rules
        self._mailings = mailings
        self._excluded = excluded
        #: The allowance of each limited domain, as last read. The dict is replaced, never changed,
        #: because the event loop reads it while a thread of the committer writes.
        self.allowed: Mapping[str, Allowance] = {}
        #: The position in a round through all blocked domains, and the times at which domains
        #: before it may have more rows to claim.
        self._domain_after: BlockedDomain | None = None
        self._again_at: list[datetime] = []
        #: Domains that had trouble since the last claim or poll.
        self._troubled: set[str] = set()

    def learn(self, session: Session, verdicts: Sequence[Verdict], now: datetime) -> None:
        """Slow down the domains that had trouble, and speed up those that recover."""
        troubled = domain_limits.learn(session, verdicts, self._limits, slow=self.allowed, now=now)
        if troubled:
            self._troubled |= troubled
            self.allowed = {**self.allowed, **self._allowances(session, troubled, {}, now)}

    def poll(
        self,
        session: Session,
        now: datetime,
        *,
        mailings: Collection[int],
        counts: Mapping[str, int],
    ) -> Pauses:
        """Return which of these mailings, and which domains, are paused now."""
        domains = self._take_troubled() | counts.keys()
        kept = {domain: self.allowed[domain] for domain in self.allowed.keys() - domains}
        self.allowed = {**kept, **self._allowances(session, domains, counts, now)}
        withheld: set[int] = set()
        if self._excluded is not None:
            withheld = queue.withheld(session, mailings, self._excluded)
        return Pauses(withheld, domain_limits.paused(session, now))

    def claim(
        self, session: Session, now: datetime, *, limit: int, counts: Mapping[str, int]
    ) -> Claimed:
        """Claim up to `limit` rows, first those of blocked domains whose limits allow it again."""
        if not is_sqlite(session.connection()):
            # Lock order: the pace row before the lock of claims, as if limits had been read before.
            # On SQLite the only lock is held already.
            limits.lock(session, now)
        domains = self._take_troubled() | counts.keys()
        allowed = self._allowances(session, domains, counts, now)
        claims, waiting, is_round = self._claim_blocked(session, now, limit, counts, allowed)
        is_exhausted = False
        for _ in range(_CLAIMS_AT_MOST):
            if len(claims) == limit or is_exhausted:
                break
            wanted = limit - len(claims)
            found = queue.claim(
                session,
                self._hold,
                limit=wanted,
                now=now,
                mailings=self._mailings,
                excluded=self._excluded,
            )
            is_exhausted = len(found) < wanted
            excess = self._excess(session, found, allowed, counts, now)
            queue.put_back(session, self._hold, blocked_domains=excess, now=now)
            waiting.update(excess.values())
            claims += [claim for claim in found if claim.id not in excess]
            if claims:
                break
        domain_limits.spend(session, allowed, now)
        times = [at for domain in waiting if (at := allowed[domain].again_at) is not None]
        again_at = self._again_at + times
        if is_round:
            self._domain_after = None
        self._again_at = [] if is_round else again_at
        self.allowed = allowed
        is_all = is_exhausted and is_round
        return Claimed(claims, min(again_at, default=None) if is_all else now)

    def _claim_blocked(
        self,
        session: Session,
        now: datetime,
        limit: int,
        counts: Mapping[str, int],
        allowed: dict[str, Allowance],
    ) -> tuple[list[Claim], set[str], bool]:
        """Claim rows of blocked domains whose limit allows more again.

        Also returns the domains that may have more rows than were claimed, and whether the round
        through all blocked domains is complete. `allowed` is extended and reduced accordingly.
        """
        blocked_domains = queue.blocked_domains(
            session,
            limit=_BLOCKED_DOMAINS_AT_MOST,
            after=self._domain_after,
            mailings=self._mailings,
            excluded=self._excluded,
        )
        is_round = len(blocked_domains) < _BLOCKED_DOMAINS_AT_MOST
        unknown = {blocked_domain.domain for blocked_domain in blocked_domains} - allowed.keys()
        allowed |= self._allowances(session, unknown, counts, now)
        claims: list[Claim] = []
        waiting: set[str] = set()
        self._domain_after = None
        for blocked_domain in blocked_domains:
            wanted = limit - len(claims)
            if not wanted:
                is_round = False
                break
            self._domain_after = blocked_domain
            allowance = allowed.get(blocked_domain.domain)
            if allowance is not None and allowance.messages <= wanted:
                # The domain may have more rows than are claimed now.
                waiting.add(blocked_domain.domain)
                wanted = allowance.messages
            if wanted:
                found = queue.claim_of_domain(
                    session, self._hold, blocked_domain, limit=wanted, now=now
                )
                claims += found
                if allowance is not None:
                    allowance.take(len(found))
        return claims, waiting, is_round

    def _excess(
        self,
        session: Session,
        claims: Sequence[Claim],
        allowed: dict[str, Allowance],
        counts: Mapping[str, int],
        now: datetime,
    ) -> dict[int, str]:
        """Return the claims that exceed the limit of their domain, each with its domain."""
        of_domain: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            of_domain[domain_limits.domain_of(claim.address)].append(claim)
        allowed |= self._allowances(session, of_domain.keys() - allowed.keys(), counts, now)
        excess = {}
        for domain in of_domain.keys() & allowed.keys():
            allowance, found = allowed[domain], of_domain[domain]
            taken = min(allowance.messages, len(found))
            allowance.take(taken)
            excess.update({claim.id: domain for claim in found[taken:]})
        return excess

    def _take_troubled(self) -> set[str]:
        troubled, self._troubled = self._troubled, set()
        return troubled

    def _allowances(
        self, session: Session, domains: Collection[str], counts: Mapping[str, int], now: datetime
    ) -> dict[str, Allowance]:
        return domain_limits.allowances(
            session,
            domains,
            self._limits,
            holding=counts,
            worker_id=self._hold.worker_id,
            now=now,
        )
