"""The check `ptr`: the reverse DNS of the publisher's own addresses.

Large receivers refuse mail from an address without a host name that resolves to this address. The
addresses of providers and of other people's relays are not checked, as only they can change them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from newsletter.doctor.checks import routes
from newsletter.doctor.checks.routes import Kind, Route
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import zone
from newsletter.doctor.records.answers import Kind as Kinds
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.zone import Address, shown
from newsletter.settings import values

#: Maximum of names of one address that are checked.
_NAMES = 10


def findings(ways: Sequence[Route], domain: str, lookup: Lookup) -> Iterator[Finding]:
    """Check the addresses from which mail is sent; hints propose a name in `domain`."""
    for way in ways:
        if way.kind is Kind.OWN:
            if way.failure:
                yield _not_checked(way)
            name = way.name if "." in way.name else f"mail.{domain}"
            for address in way.addresses:
                yield from _address(address, name, way, lookup)
        elif way.kind is not Kind.PROVIDER:
            yield _not_checked(way)


def _not_checked(way: Route) -> Finding:
    why = (
        way.unknown
        if way.failure
        else f"mail leaves by {way.name}, and from which public address cannot be known from here"
    )
    return Finding(
        id="ptr",
        level=Level.NOT_CHECKED,
        sentence=f"Whether the address that mail leaves from has a name is not known: {why}.",
        hint=routes.RECEIVED,
        subject=way.name,
    )


def _address(address: Address, name: str, way: Route, lookup: Lookup) -> Iterator[Finding]:
    if values.is_inside(address):
        return
    answer = lookup(address.reverse_pointer, "PTR")
    names = [one for one in answer.records if one][:_NAMES]
    kind: Kinds = "A" if address.version == 4 else "AAAA"
    back = {one: lookup(one, kind) for one in names}
    right = [one for one, found in back.items() if str(address) in found.records]
    failures = [one.failure for one in (answer, *back.values()) if one.failure]
    if right:
        yield from _said(address, right, way)
    elif failures:
        yield _unknown(address, failures[0])
    elif names:
        listed = ", ".join(map(shown, names[:3]))
        yield _wrong(
            address,
            f"The name of {address} is {listed}, and that name does not lead back to it.",
            f"Publish an {kind} record for it, and have the relay say the same name in EHLO.",
            zone.record(names[0], kind, str(address)),
        )
    else:
        yield _wrong(
            address,
            f"{address} has no name in reverse DNS, and large receivers refuse mail from such "
            "addresses.",
            "Have whoever rents you the address publish this record: the name that the relay says "
            f"in EHLO, which has to have an {kind} record with the same address.",
            zone.record(address.reverse_pointer, "PTR", f"{name}."),
        )


def _said(address: Address, names: Sequence[str], way: Route) -> Iterator[Finding]:
    """Yield a finding if no name of an address is the relay's; its EHLO name is unknown here."""
    if "." in way.name and way.name not in names:
        yield Finding(
            id="ptr",
            level=Level.INFO,
            sentence=f"The name of {address} is {shown(names[0])}, and the relay is known as "
            f"{way.name}; some receivers want the name that it says in EHLO to be the first.",
            hint=f"Have the relay say {shown(names[0])} in EHLO, or whoever rents you the address "
            "publish this record.",
            subject=str(address),
            record=zone.record(address.reverse_pointer, "PTR", f"{way.name}."),
        )


def _wrong(address: Address, sentence: str, hint: str, record: str) -> Finding:
    return Finding(
        id="ptr",
        level=Level.ERROR,
        sentence=sentence,
        hint=hint,
        subject=str(address),
        record=record,
    )


def _unknown(address: Address, failure: str) -> Finding:
    return Finding(
        id="ptr",
        level=Level.NOT_CHECKED,
        sentence=f"Whether {address} has a name that leads back to it is not known: {failure}.",
        hint="Run `newsletter doctor` again once that is mended.",
        subject=str(address),
    )
