"""Counts the DNS look-ups of evaluating an SPF record, and finds the include with most of them.

The counts are for a client that no term matches, since it evaluates the whole record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from newsletter.doctor.records import spf, spf_macros
from newsletter.doctor.records.answers import Answer, Kind, Lookup
from newsletter.doctor.records.spf_terms import Term
from newsletter.doctor.records.zone import shown

#: Counting stops at so many look-ups, which is far over the limit.
_MAXIMUM = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a record and of those that it includes."""

    domain: str
    #: The include or redirect of this record; empty for the first record.
    term: str = ""
    #: Number of terms that need a look-up, with those of included records (RFC 7208 4.6.4).
    lookups: int = 0
    #: Terms with void look-ups: (domain of the record, term).
    voids: tuple[tuple[str, str], ...] = ()
    includes: tuple[Cost, ...] = ()
    #: Why this or an included record cannot be evaluated, and whether this is temporary.
    problem: str = ""
    is_temporary: bool = False
    #: Why not all included domains are known; empty if they are.
    unseen: str = ""

    @property
    def costliest(self) -> Cost | None:
        """The include or redirect with the most look-ups."""
        return max(self.includes, key=lambda one: one.lookups, default=None)

    def domains(self) -> Iterator[str]:
        """Yield all domains of this record and the included ones, in lower case."""
        yield self.domain.lower()
        for one in self.includes:
            yield from one.domains()


def of(domain: str, lookup: Lookup) -> Cost:
    """Return the cost of a domain's SPF record, with a limited number of queries."""
    return _Count(lookup).of(domain, term="", above=())


class _Count:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._left = _MAXIMUM

    def of(self, domain: str, *, term: str, above: tuple[str, ...]) -> Cost:
        """Return the cost of one record; `above` are the domains that included it."""
        if domain.lower() in above:
            why = f"{shown(domain)} includes itself"
            return Cost(domain=domain, term=term, lookups=spf.LOOKUPS, problem=why)
        found = spf.published(domain, self._lookup)
        if found.result is not None:
            return Cost(
                domain=domain,
                term=term,
                problem=found.why,
                is_temporary=found.result is spf.Result.TEMPERROR,
                unseen="" if found.result is spf.Result.NONE else found.why,
            )
        own = 0
        voids: list[tuple[str, str]] = []
        includes: list[Cost] = []
        unseen = ""
        for one in _evaluated(found.terms):
            if self._left <= 0:
                unseen = f"it needs more than {_MAXIMUM} look-ups"
                break
            self._left -= 1
            own += 1
            if spf_macros.has_macros(one.domain):
                # These names depend on the mail and the client.
                if one.name in {"include", "redirect"}:
                    unseen = f"{shown(one.text)} is another domain for each mail"
                continue
            if one.name in {"include", "redirect"}:
                target = spf_macros.expand(one.domain, {})
                includes.append(self.of(target, term=one.text, above=(*above, domain.lower())))
            elif self._is_void(one, domain):
                voids.append((domain, one.text))
        troubled = next((one for one in includes if one.problem), None)
        return Cost(
            domain=domain,
            term=term,
            lookups=own + sum(one.lookups for one in includes),
            voids=(*voids, *(void for one in includes for void in one.voids)),
            includes=tuple(includes),
            problem=troubled.problem if troubled else "",
            is_temporary=troubled is not None and troubled.is_temporary,
            unseen=next((one.unseen for one in includes if one.unseen), unseen),
        )

    def _is_void(self, term: Term, domain: str) -> bool:
        name = spf_macros.expand(term.domain, {}) if term.domain else domain
        match term.name:
            case "mx":
                return _is_void(self._ask(name, "MX"))
            case "a":
                return all(_is_void(self._ask(name, kind)) for kind in ("A", "AAAA"))
            case "exists":
                return _is_void(self._ask(name, "A"))
        return False

    def _ask(self, name: str, kind: Kind) -> Answer:
        return self._lookup(name, kind) if spf.is_name(name) else Answer(exists=False)


def _evaluated(terms: tuple[Term, ...]) -> Iterator[Term]:
    """Yield the reachable terms that need a look-up; `all` ends a record and disables redirect."""
    redirect = None
    for term in terms:
        if term.name == "all":
            return
        if term.name == "redirect":
            redirect = term
        elif term.costs_a_lookup:
            yield term
    if redirect is not None:
        yield redirect


def _is_void(answer: Answer) -> bool:
    return not answer.records and not answer.failure
