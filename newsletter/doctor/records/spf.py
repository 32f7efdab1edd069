"""The evaluation of SPF (RFC 7208): whether a client may send mail for a domain.

The syntax of explanations (exp=) is checked, but they are never fetched, because they are only for
senders of refused mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from newsletter.doctor.records import spf_macros, spf_terms
from newsletter.doctor.records.answers import Answer, Kind, Lookup
from newsletter.doctor.records.spf_terms import Qualifier, Term
from newsletter.doctor.records.zone import Address, shown

#: Limits of one evaluation (RFC 7208 4.6.4).
LOOKUPS, VOIDS = 10, 2
#: Maximum of names of one mx or ptr that are looked up.
HOSTS = 10


class Result(StrEnum):
    """The result of an evaluation (RFC 7208 2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_BY_QUALIFIER = {
    Qualifier.PASS: Result.PASS,
    Qualifier.FAIL: Result.FAIL,
    Qualifier.SOFTFAIL: Result.SOFTFAIL,
    Qualifier.NEUTRAL: Result.NEUTRAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result for one client and sender, and why."""

    result: Result
    #: The term that matched, as written in the record; empty if none did.
    term: str = ""
    #: The reason of none, temperror and permerror, as a clause that is safe to print.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """The SPF record of a domain, or why there is none."""

    text: str = ""
    terms: tuple[Term, ...] = ()
    #: None if the record can be evaluated; else the result, with the reason in `why`.
    result: Result | None = None
    why: str = ""
    #: All SPF records that were found; only one is allowed.
    all: tuple[str, ...] = ()


def check_host(
    ip: Address | str, domain: str, sender: str, lookup: Lookup, *, helo: str = ""
) -> Verdict:
    """Evaluate the SPF record of `domain` for a client (check_host() of RFC 7208 4).

    `domain` is that of the envelope sender, or the name in HELO if the envelope sender is empty;
    `sender` is the address itself. Raises only ValueError, for an invalid `ip`.
    """
    address = ip_address(ip)
    if isinstance(address, IPv6Address):
        # The zone of a link-local address is dropped (RFC 4007).
        address = address.ipv4_mapped or IPv6Address(int(address))
    local, _, sender_domain = sender.rpartition("@")
    mail = _Mail(address, local or "postmaster", sender_domain or domain, helo)
    if not is_name(domain):
        return Verdict(result=Result.NONE, why=f"{shown(domain)} is no domain")
    try:
        return _evaluate(domain.removesuffix("."), _Run(mail, lookup))
    except _Ended as end:
        return Verdict(result=end.result, why=str(end))


def published(domain: str, lookup: Lookup) -> Published:
    """Return the SPF record of a domain (RFC 7208 4.4 to 4.6)."""
    answer = lookup(domain, "TXT")
    if answer.failure:
        return Published(result=Result.TEMPERROR, why=f"{shown(domain)}: {answer.failure}")
    records = tuple(text for text in answer.records if spf_terms.is_record(text))
    if not records:
        return Published(result=Result.NONE, why=f"{shown(domain)} has no SPF record")
    if len(records) > 1:
        why = f"{shown(domain)} has {len(records)} SPF records"
        return Published(result=Result.PERMERROR, why=why, all=records)
    try:
        terms = tuple(spf_terms.parse(records[0]))
    except ValueError as exc:
        why = f"the SPF record of {shown(domain)} is wrong: {exc}"
        return Published(text=records[0], result=Result.PERMERROR, why=why, all=records)
    return Published(text=records[0], terms=terms, all=records)


def is_name(domain: str) -> bool:
    """Return whether a text has the form of a domain with at least two labels (RFC 7208 4.3)."""
    labels = domain.removesuffix(".").split(".")
    is_short = len(domain) <= 254
    return is_short and len(labels) > 1 and all(0 < len(label) <= 63 for label in labels)


@dataclass(frozen=True, slots=True)
class _Mail:
    """The inputs of an evaluation."""

    client: Address
    local: str
    sender_domain: str
    helo: str

    @property
    def kind(self) -> Kind:
        return "A" if isinstance(self.client, IPv4Address) else "AAAA"


class _Ended(Exception):
    """Ends an evaluation early, with a result and its reason."""

    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result


class _Run:
    """One evaluation, with its queries so far and its limits."""

    def __init__(self, mail: _Mail, lookup: Lookup) -> None:
        self.mail = mail
        self._lookup = lookup
        self._lookups = 0
        self._voids = 0

    def count(self) -> None:
        """Count a term that needs a look-up; end the evaluation at the limit."""
        self._lookups += 1
        if self._lookups > LOOKUPS:
            raise _Ended(Result.PERMERROR, f"it needs more than {LOOKUPS} look-ups")

    def published(self, domain: str) -> Published:
        """Return the record of an include or redirect."""
        return published(domain, self._lookup)

    def ask(self, name: str, kind: Kind) -> tuple[str, ...]:
        """Return records; end the evaluation if the query fails, or at the limit of void ones."""
        answer = self.try_to_ask(name, kind)
        if answer.failure:
            raise _Ended(Result.TEMPERROR, f"{shown(name)}: {answer.failure}")
        return answer.records

    def try_to_ask(self, name: str, kind: Kind) -> Answer:
        """Return the answer; a failure does not end the evaluation."""
        # A malformed name has no records (RFC 7208 4.8).
        answer = self._lookup(name, kind) if is_name(name) else Answer(exists=False)
        if not answer.records and not answer.failure:
            self._voids += 1
            if self._voids > VOIDS:
                raise _Ended(
                    Result.PERMERROR, f"more than {VOIDS} of its look-ups find nothing (void)"
                )
        return answer

    def expand(self, term: Term, domain: str) -> str:
        """Return the domain name of a term, with macros expanded."""
        if not term.domain:
            return domain
        mail, wanted = self.mail, term.domain
        values = {
            "s": f"{mail.local}@{mail.sender_domain}",
            "l": mail.local,
            "o": mail.sender_domain,
            "d": domain,
            "i": spf_macros.dotted(mail.client),
            "v": "in-addr" if mail.kind == "A" else "ip6",
            "h": mail.helo,
            "p": "unknown",
        }
        if "%{p" in wanted.lower():
            values["p"] = self._validated_name(domain)
        return spf_macros.expand(wanted, values)

    def names(self) -> Iterator[str]:
        """Yield the validated host names of the client (RFC 7208 5.5)."""
        answer = self.try_to_ask(self.mail.client.reverse_pointer, "PTR")
        for name in answer.records[:HOSTS]:
            if self.mail.client in _addresses(self.try_to_ask(name, self.mail.kind).records):
                yield name

    def _validated_name(self, domain: str) -> str:
        names = list(self.names())
        below = [name for name in names if _is_below(name, domain)]
        return domain if domain in names else next(iter([*below, *names]), "unknown")


def _evaluate(domain: str, run: _Run) -> Verdict:
    found = run.published(domain)
    if found.result is not None:
        return Verdict(result=found.result, why=found.why)
    for term in found.terms:
        if term.name not in {"redirect", "exp"} and _matches(term, domain, run):
            return Verdict(result=_BY_QUALIFIER[term.qualifier], term=term.text)
    for term in found.terms:
        if term.name == "redirect":
            return _redirected(term, domain, run)
    return Verdict(result=Result.NEUTRAL)


def _redirected(term: Term, domain: str, run: _Run) -> Verdict:
    run.count()
    target = run.expand(term, domain)
    verdict = _evaluate(target, run) if is_name(target) else Verdict(result=Result.NONE)
    if verdict.result is Result.NONE:
        why = f"{shown(term.text)} leads to no SPF record"
        return Verdict(result=Result.PERMERROR, why=why)
    return verdict


def _matches(term: Term, domain: str, run: _Run) -> bool:
    if term.name == "all":
        return True
    if term.address is not None:
        return _is_in(run.mail.client, term.address, term.lengths)
    run.count()
    return _is_found(term, run.expand(term, domain), run)


def _is_found(term: Term, target: str, run: _Run) -> bool:
    match term.name:
        case "include":
            return _includes(term, target, run)
        case "a":
            return _has_address(run.ask(target, run.mail.kind), term, run)
        case "mx":
            return _is_mail_host(target, term, run)
        case "ptr":
            return any(name == target.lower() or _is_below(name, target) for name in run.names())
    return bool(run.ask(target, "A"))


def _includes(term: Term, target: str, run: _Run) -> bool:
    verdict = _evaluate(target, run) if is_name(target) else Verdict(result=Result.NONE)
    if verdict.result is Result.NONE:
        raise _Ended(Result.PERMERROR, f"{shown(term.text)} leads to no SPF record")
    if verdict.result in {Result.TEMPERROR, Result.PERMERROR}:
        raise _Ended(verdict.result, verdict.why)
    return verdict.result is Result.PASS


def _is_mail_host(target: str, term: Term, run: _Run) -> bool:
    hosts = run.ask(target, "MX")
    if len(hosts) > HOSTS:
        raise _Ended(Result.PERMERROR, f"{shown(target)} has more than {HOSTS} MX records")
    # The first match ends the search, because look-ups of further hosts could be void.
    return any(_has_address(run.ask(host, run.mail.kind), term, run) for host in hosts if host)


def _has_address(records: tuple[str, ...], term: Term, run: _Run) -> bool:
    return any(_is_in(run.mail.client, address, term.lengths) for address in _addresses(records))


def _is_in(client: Address, address: Address, lengths: tuple[int, int]) -> bool:
    if client.version != address.version:
        return False
    length = lengths[0] if client.version == 4 else lengths[1]
    return client in ip_network(f"{address}/{length}", strict=False)


def _addresses(records: tuple[str, ...]) -> list[Address]:
    found: list[Address] = []
    for record in records:
        try:
            found.append(ip_address(record))
        except ValueError:
            continue
    return found


def _is_below(name: str, domain: str) -> bool:
    return name.lower().endswith(f".{domain.lower()}")
