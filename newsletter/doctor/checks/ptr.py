"""Judges reverse DNS: ptr. Only of addresses that are the publisher's own to name.

An address needs a name that leads back to it, or large receivers refuse its mail. Where a provider
or somebody else's relay sends, that is theirs to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from newsletter.doctor.checks import routes
from newsletter.doctor.checks.routes import Kind, Route
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import zone
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.zone import Address, shown
from newsletter.settings import values

#: Names of one address that are looked at.
_NAMES = 10


def findings(ways: Sequence[Route], domain: str, lookup: Lookup) -> Iterator[Finding]:
    """Judge the addresses that mail leaves from; a name at `domain` is the one to give them."""
    for way in ways:
        if way.kind is Kind.OWN:
            name = way.name if "." in way.name else f"mail.{domain}"
            for address in way.addresses:
                yield from _address(address, name, lookup)
        elif way.kind is not Kind.PROVIDER:
            yield _not_checked(way)


def _not_checked(way: Route) -> Finding:
    why = (
        f"the address of {way.name} is not known: {way.failure}"
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


def _address(address: Address, name: str, lookup: Lookup) -> Iterator[Finding]:
    if values.is_inside(address):
        return
    reverse = address.reverse_pointer
    answer = lookup(reverse, "PTR")
    if answer.failure:
        yield _unknown(address, answer.failure)
        return
    names = [one for one in answer.records if one][:_NAMES]
    kind = "A" if address.version == 4 else "AAAA"
    back = [lookup(one, "A" if address.version == 4 else "AAAA") for one in names]
    if any(str(address) in one.records for one in back):
        return
    if failure := next((one.failure for one in back if one.failure), ""):
        yield _unknown(address, failure)
        return
    if names:
        listed = ", ".join(map(shown, names[:3]))
        sentence = f"The name of {address} is {listed}, and that name does not lead back to it."
        hint = f"Publish an {kind} record for it, and have the relay say the same name in EHLO."
        record = zone.record(names[0], kind, str(address))
    else:
        sentence = (
            f"{address} has no name in reverse DNS, and large receivers refuse mail from such "
            "addresses."
        )
        hint = (
            "Have whoever rents you the address publish this record: the name that the relay says "
            f"in EHLO, which has to have an {kind} record with the same address."
        )
        record = zone.record(reverse, "PTR", f"{name}.")
    yield Finding(
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
