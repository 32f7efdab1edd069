"""The checks `spf.one`, `spf.lookups` and `spf.relay`, of the envelope sender's domain.

Receivers look for the record at the domain of the envelope sender (RFC 7208 2.4), which is that of
`return_path`, and without one that of `sender`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from newsletter.doctor.checks import routes
from newsletter.doctor.checks.routes import Kind, Route
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import spf, spf_costs, spf_terms, zone
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.spf import Result
from newsletter.doctor.records.spf_terms import Qualifier
from newsletter.doctor.records.zone import shown
from newsletter.settings import values


def findings(sender: str, ways: Sequence[Route], lookup: Lookup) -> list[Finding]:
    """Return the findings on the SPF record of the envelope sender's domain."""
    domain = sender.rpartition("@")[2]
    found = spf.published(domain, lookup)
    if found.result is Result.TEMPERROR:
        return [_unknown(one, domain, found.why) for one in ("spf.one", "spf.lookups", "spf.relay")]
    if found.result is not None:
        wrong = _wrong(domain, found, ways)
        rest = ("spf.lookups", "spf.relay")
        return [wrong, *(_unknown(one, domain, "spf.one comes first") for one in rest)]
    cost = spf_costs.of(domain, lookup)
    costs = list(_costs(domain, found, cost, ways))
    is_broken = any(one.level is Level.ERROR for one in costs)
    return [
        *_for_everybody(domain, found),
        *costs,
        *(
            finding
            for way in ways
            for finding in (
                _provider(domain, found, cost, way)
                if way.kind is Kind.PROVIDER
                else _relay(sender, found, way, lookup, is_broken=is_broken)
            )
        ),
    ]


def _unknown(finding: str, domain: str, why: str) -> Finding:
    what = {
        "spf.one": f"Whether {domain} has one SPF record",
        "spf.lookups": f"How many look-ups the SPF record of {domain} needs",
        "spf.relay": f"Whether the SPF record of {domain} names the relay",
    }[finding]
    return Finding(
        id=finding,
        level=Level.NOT_CHECKED,
        sentence=f"{what} is not known: {why}.",
        hint="Run `newsletter doctor` again once that is mended.",
        subject=domain,
    )


def _wrong(domain: str, found: spf.Published, ways: Sequence[Route]) -> Finding:
    if found.result is Result.NONE:
        sentence = f"{domain} has no SPF record, so receivers cannot tell your mail from forged."
        hint = (
            f"Publish one TXT record at {domain}, with what your mailbox provider and others want "
            f"in it who send for it.{_what_is_unknown(ways)}"
        )
        record = zone.txt(domain, _new(ways))
    elif len(found.all) > 1:
        sentence = (
            f"{domain} has {len(found.all)} SPF records, and with more than one none counts "
            f"(permerror): {_listed(found.all)}."
        )
        hint = "Replace them by one record that has the terms of all."
        record = zone.txt(domain, _merged(found.all))
    else:
        sentence = f"Receivers cannot evaluate it (permerror): {found.why}."
        hint = f"It is: {shown(found.text)}. The record below has what can be read of it."
        record = zone.txt(domain, _merged([found.text]))
    return Finding(
        id="spf.one",
        level=Level.ERROR if _matters(ways) else Level.WARNING,
        sentence=sentence,
        hint=hint,
        subject=domain,
        record=record,
    )


def _matters(ways: Sequence[Route]) -> bool:
    """Return whether receivers check SPF of this domain, and not of a provider's domain."""
    return any(way.provider is None or not way.provider.has_own_sender for way in ways)


def _listed(records: Sequence[str]) -> str:
    return "; ".join(shown(text) for text in records[:3])


def _terms(ways: Sequence[Route]) -> list[str]:
    return list(dict.fromkeys(term for way in ways for term in routes.spf_terms(way)))


def _new(ways: Sequence[Route]) -> str:
    # Without known addresses, those of the domain itself and of its mail servers are allowed.
    terms = _terms(ways) or ["a", "mx"]
    return " ".join(["v=spf1", *terms, "~all"])


def _what_is_unknown(ways: Sequence[Route]) -> str:
    if not _terms(ways):
        return (
            " The address that mail leaves from is not known here: the record below names those "
            "of the domain and its mail servers; add ip4:ADDRESS if it is another one."
        )
    others = ", ".join(way.name for way in ways if way.kind is Kind.OTHER)
    return f" The addresses below are those of {others}; it may send from others." if others else ""


def _merged(records: Sequence[str]) -> str:
    """Return one record with the terms of several, and the mildest of their `all` terms."""
    terms: dict[str, None] = {}
    ends = set()
    for record in records:
        for term in record.split(" ")[1:]:
            lowered = term.lower()
            if lowered.lstrip("+-~?") == "all":
                ends.add(lowered[0] if lowered != "all" else "+")
            elif lowered.startswith("redirect="):
                # A redirect becomes an include, because `all` makes redirect ineffective (RFC 7208
                # 6.1).
                terms[f"include:{term[len('redirect=') :]}"] = None
            elif _is_readable(term):
                terms[term] = None
    # +all would allow everybody to send.
    end = "-all" if ends == {"-"} else "~all"
    return " ".join(["v=spf1", *terms, end])


def _for_everybody(domain: str, found: spf.Published) -> Iterator[Finding]:
    for term in found.terms:
        if term.name == "all" and term.qualifier is Qualifier.PASS:
            terms = ["~all" if one == term.text else one for one in found.text.split()]
            yield Finding(
                id="spf.one",
                level=Level.WARNING,
                sentence=f"The SPF record of {domain} lets everybody send for it, by "
                f"{shown(term.text)}.",
                hint=f"Publish this record, with ~all, in place of the one at {domain}.",
                subject=domain,
                record=zone.txt(domain, " ".join(terms)),
            )
            return


def _costs(
    domain: str, found: spf.Published, cost: spf_costs.Cost, ways: Sequence[Route]
) -> Iterator[Finding]:
    """Check the limits of evaluation; the finding names the first error that receivers reach."""
    if cost.problem and not cost.is_temporary:
        yield _lookups(
            domain,
            f"A part of the SPF record of {domain} cannot be evaluated, and so none of it counts "
            f"(permerror): {cost.problem}.",
            f"Take out {shown(_bad(cost))}, or ask whoever runs it to mend it.",
            _without(domain, found.text, _bad(cost)),
        )
    elif cost.lookups > spf.LOOKUPS:
        spare = _spare(cost, ways)
        yield _lookups(
            domain,
            f"The SPF record of {domain} needs {_many(cost.lookups)} look-ups, and with more than "
            f"{spf.LOOKUPS} none of it counts (permerror){_costliest(cost)}.",
            "Take out what no mail of yours leaves by, or put ip4: and ip6: in place of a, mx and "
            f"include.{f' The record below leaves out {shown(spare)}.' if spare else ''}",
            _without(domain, found.text, spare),
        )
    elif len(cost.voids) > spf.VOIDS:
        terms = ", ".join(f"{shown(term)} of {shown(name)}" for name, term in cost.voids[:5])
        yield _lookups(
            domain,
            f"{len(cost.voids)} terms of the SPF record of {domain} find nothing, and with more "
            f"than {spf.VOIDS} none of it counts (permerror): {terms}.",
            "Take them out: names that are not in DNS authorise nobody.",
            _without(domain, found.text, *(term for at, term in cost.voids if at == domain)),
        )
    elif cost.problem:
        yield _unknown("spf.lookups", domain, cost.problem)


def _is_readable(term: str) -> bool:
    try:
        return bool(term) and bool(spf_terms.parse(f"v=spf1 {term}"))
    except ValueError:
        return False


def _lookups(domain: str, sentence: str, hint: str, record: str) -> Finding:
    return Finding(
        id="spf.lookups",
        level=Level.ERROR,
        sentence=sentence,
        hint=hint,
        subject=domain,
        record=record,
    )


def _spare(cost: spf_costs.Cost, ways: Sequence[Route]) -> str:
    """Return the include with the most look-ups, apart from those of the relays."""
    needed = set(_terms(ways))
    spare = [one for one in cost.includes if one.term.lower() not in needed]
    return max(spare, key=lambda one: one.lookups).term if spare else ""


def _many(lookups: int) -> str:
    return f"{lookups} or more" if lookups > 3 * spf.LOOKUPS else str(lookups)


def _bad(cost: spf_costs.Cost) -> str:
    return next((one.term for one in cost.includes if one.problem), "")


def _costliest(cost: spf_costs.Cost) -> str:
    most = cost.costliest
    return f"; {shown(most.term)} alone takes {most.lookups + 1}" if most is not None else ""


def _without(domain: str, record: str, *terms: str) -> str:
    """Return a record without some terms; empty if the record has none of them."""
    there = [term for term in record.split(" ") if term]
    kept = [term for term in there if term not in terms]
    return zone.txt(domain, " ".join(kept)) if kept != there else ""


def _relay(
    sender: str, found: spf.Published, way: Route, lookup: Lookup, *, is_broken: bool
) -> Iterator[Finding]:
    if way.failure:
        yield _not_checked(way.name, way.unknown)
    if way.kind is Kind.INSIDE:
        yield _not_checked(
            way.name,
            f"mail leaves by {way.name}, whose public address cannot be known from here",
            hint=routes.RECEIVED,
        )
    else:
        yield from _addresses(sender, found, way, lookup, is_broken=is_broken)


def _not_checked(subject: str, why: str, hint: str = "") -> Finding:
    return Finding(
        id="spf.relay",
        level=Level.NOT_CHECKED,
        sentence=f"Whether SPF passes is not known: {why}.",
        hint=hint or "Run `newsletter doctor` again once that is mended.",
        subject=subject,
    )


def _provider(
    domain: str, found: spf.Published, cost: spf_costs.Cost, way: Route
) -> Iterator[Finding]:
    assert way.provider is not None
    if way.provider.include in set(cost.domains()):
        return
    if cost.unseen:
        yield _not_checked(
            way.name,
            f"mail leaves by {way.provider.name}, and what the SPF record of {domain} includes is "
            f"not all known ({cost.unseen})",
            hint="Run `newsletter doctor` again, or with --file and a mail that one of your own "
            "mailboxes has received: its headers have the result.",
        )
        return
    # Without this term, SPF also passes if the provider's own domain is the envelope sender.
    is_needed = not way.provider.has_own_sender
    own = (
        ""
        if is_needed
        else f" Nothing has to be done as long as {way.provider.name} takes an envelope sender at "
        "a domain of its own: SPF then passes for that one, and DMARC by DKIM alone."
    )
    yield Finding(
        id="spf.relay",
        level=Level.WARNING if is_needed else Level.INFO,
        sentence=f"Mail leaves by {way.provider.name} ({way.name}), and the SPF record of {domain} "
        f"does not include {way.provider.include}.{own}",
        hint=f"Publish this record in place of the one at {domain}.",
        subject=way.name,
        record=zone.txt(domain, _with(found.text, routes.spf_terms(way))),
    )


def _addresses(
    sender: str, found: spf.Published, way: Route, lookup: Lookup, *, is_broken: bool
) -> Iterator[Finding]:
    domain = sender.rpartition("@")[2]
    verdicts: dict[spf.Verdict, list[str]] = {}
    for address in way.addresses:
        if not values.is_inside(address):
            verdict = spf.check_host(address, domain, sender, lookup)
            verdicts.setdefault(verdict, []).append(str(address))
    for verdict, addresses in verdicts.items():
        if verdict.result is Result.TEMPERROR or (
            # Then `spf.lookups` says the same.
            verdict.result is Result.PERMERROR and is_broken
        ):
            listed = ", ".join(addresses)
            yield _not_checked(listed, f"for {listed}, {verdict.why}")
        elif verdict.result is not Result.PASS:
            yield _refused(domain, found, way, verdict, addresses)


def _refused(
    domain: str, found: spf.Published, way: Route, verdict: spf.Verdict, addresses: Sequence[str]
) -> Finding:
    by = f" by {shown(verdict.term)}" if verdict.term else ""
    why = f": {verdict.why}" if verdict.why else ""
    elsewhere = "" if way.kind is Kind.OWN else f" If mail leaves from elsewhere: {routes.RECEIVED}"
    return Finding(
        id="spf.relay",
        level=Level.ERROR if way.kind is Kind.OWN else Level.WARNING,
        sentence=f"Mail from {', '.join(addresses)} ({way.name}) gets {verdict.result}{by} from "
        f"the SPF record of {domain}, where it should get pass{why}.",
        hint=f"Publish this record in place of the one at {domain}.{elsewhere}",
        subject=", ".join(addresses),
        record=zone.txt(domain, _with(found.text, routes.spf_terms(way))),
    )


def _with(record: str, terms: Sequence[str]) -> str:
    """Return a record with more terms, inserted before the first one that could end it."""
    found = [term for term in record.split(" ") if term]
    new = [term for term in terms if term not in found]
    return " ".join([found[0], *new, *found[1:]])
