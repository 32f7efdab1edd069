"""The checks `dmarc.record` and `dmarc.tags`: the DMARC record that receivers use (RFC 9989)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import dmarc, zone
from newsletter.doctor.records.dmarc import Record, Walk
from newsletter.doctor.records.zone import shown

_POLICIES = frozenset({"p", "sp", "np"})


def findings(walk: Walk, mailbox: str) -> list[Finding]:
    """Return the findings on the record of a tree walk; a proposal sends reports to `mailbox`."""
    for domain, records in walk.crowded.items():
        # Several records above are the reason if no record was found.
        if domain in {walk.start, walk.organizational} or not walk.records:
            return [
                _crowded(domain, records),
                _unknown("dmarc.tags", walk.start, "dmarc.record comes first"),
            ]
    if walk.failure:
        # A record whose query failed may be nearer, or determine the organizational domain.
        names = ("dmarc.record", "dmarc.tags")
        return [_unknown(name, walk.start, walk.failure) for name in names]
    policy = walk.policy
    if policy is None or (policy[1].value("psd") == "y" and policy[0] != walk.start):
        return [
            _missing(walk, mailbox, policy),
            _unknown("dmarc.tags", walk.start, "dmarc.record comes first"),
        ]
    domain, record = policy
    return [*_policy(walk, domain, record, mailbox), *_tags(domain, record, mailbox)]


def _unknown(finding: str, domain: str, why: str) -> Finding:
    return Finding(
        id=finding,
        level=Level.NOT_CHECKED,
        sentence=f"The DMARC record of {domain} is not known: {why}.",
        hint="Run `newsletter doctor` again once that is mended.",
        subject=domain,
    )


def _crowded(domain: str, records: tuple[str, ...]) -> Finding:
    return Finding(
        id="dmarc.record",
        level=Level.ERROR,
        sentence=f"_dmarc.{domain} has {len(records)} DMARC records, and with more than one none "
        f"counts: {'; '.join(shown(text) for text in records[:3])}.",
        hint="Keep one of them; the record below is the first.",
        subject=domain,
        record=zone.txt(f"_dmarc.{domain}", records[0]),
    )


def _missing(walk: Walk, mailbox: str, policy: tuple[str, Record] | None) -> Finding:
    registry = f"; that of _dmarc.{policy[0]} is its registry's" if policy is not None else ""
    return Finding(
        id="dmarc.record",
        level=Level.ERROR,
        sentence=f"{walk.start} has no DMARC record{registry}, and Gmail, Yahoo and Outlook want "
        "one of everybody who sends in bulk.",
        hint=f"Publish this record. p=none asks for nothing but reports, which go to {mailbox}: "
        "take another mailbox if you like, at the same domain.",
        subject=walk.start,
        record=_new(walk.start, mailbox),
    )


def _new(domain: str, mailbox: str) -> str:
    return zone.txt(f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:{mailbox}")


def _policy(walk: Walk, domain: str, record: Record, mailbox: str) -> Iterator[Finding]:
    if not record.is_applied:
        tags = [tag for tag in record.wrong() if tag in _POLICIES]
        yield Finding(
            id="dmarc.record",
            level=Level.ERROR,
            sentence=f"Receivers ignore the DMARC record of {domain}, as its {_listed(tags)} is "
            f"neither none, quarantine nor reject: {shown(record.text)}.",
            hint="Publish this record in its place.",
            subject=domain,
            record=_new(domain, mailbox),
        )
        return
    # For a subdomain without its own record, the tag sp applies.
    tag = "sp" if domain != walk.start and record.value("sp") else "p"
    if record.value(tag) in {"quarantine", "reject"}:
        return
    yield Finding(
        id="dmarc.record",
        level=Level.INFO if record.reports_to else Level.WARNING,
        sentence=f"The DMARC policy for {walk.start} is none: mailboxes are asked to do nothing "
        "about mail that forges it"
        + ("." if record.reports_to else ", and to report nothing to you (there is no rua)."),
        hint="Read the reports for some weeks; if all that is yours passes, publish this record, "
        f"and at last one with {tag}=reject."
        if record.reports_to
        else "Publish this record in its place; the reports show who sends as you.",
        subject=domain,
        record=_proposed(domain, record, mailbox)
        if not record.reports_to
        else zone.txt(f"_dmarc.{domain}", _changed(record, {tag: "quarantine"})),
    )


def _tags(domain: str, record: Record, mailbox: str) -> Iterator[Finding]:
    historic = [tag for tag in record.tags if tag in dmarc.HISTORIC]
    unknown = [tag for tag in record.tags if tag not in dmarc.KNOWN | dmarc.HISTORIC]
    wrong = [tag for tag in record.wrong() if record.is_applied or tag not in _POLICIES]
    slips = []
    if historic:
        slips.append(f"{_listed(historic)} was removed in RFC 9989, and receivers ignore it")
    if unknown:
        slips.append(f"{_listed(unknown)} is no tag that a receiver knows")
    if wrong:
        values = ", ".join(f"{tag}={shown(record.tags[tag])}" for tag in wrong)
        slips.append(f"{values} is no value that a receiver knows")
    if record.value("t") == "y":
        slips.append("t=y asks receivers not to apply the policy (test mode)")
    if slips:
        yield Finding(
            id="dmarc.tags",
            level=Level.WARNING,
            sentence=f"In the DMARC record of {domain}, {'; '.join(slips)}.",
            hint="Publish this record, without that, in its place."
            + (" To try a policy out, t=y takes the place of pct." if "pct" in historic else ""),
            subject=domain,
            record=_proposed(domain, record, mailbox),
        )


def _proposed(domain: str, record: Record, mailbox: str) -> str:
    """Return the record without its wrong tags, and with an address for reports."""
    kept = {tag: value for tag, value in record.tags.items() if tag in dmarc.KNOWN and tag != "t"}
    for tag in record.wrong():
        kept.pop(tag, None)
    # A record without p counts as p=none, and older receivers ignore the record.
    tags = {"p": "none", **kept}
    return zone.txt(f"_dmarc.{domain}", _text({"rua": f"mailto:{mailbox}"} | tags))


def _listed(tags: Iterable[str]) -> str:
    return ", ".join(map(shown, tags))


def _changed(record: Record, values: dict[str, str]) -> str:
    return _text({**record.tags, **values})


def _text(tags: dict[str, str]) -> str:
    # RFC 7489 required that p is the first tag.
    ordered = {"p": tags["p"], **tags} if "p" in tags else tags
    return "; ".join(["v=DMARC1", *(f"{tag}={value}" for tag, value in ordered.items())])
