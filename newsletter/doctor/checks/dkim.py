"""The check `dkim.key`: the public keys of the relay's DKIM signatures.

The signing domain may be the sender's or a parent of it, up to the organizational domain; in either
case the signature is aligned with From (RFC 9989 4.4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records import dkim, zone
from newsletter.doctor.records.answers import Answer, Lookup
from newsletter.doctor.records.dkim import Key, UnusableKey
from newsletter.doctor.records.zone import shown

_RECEIVED = (
    "`newsletter doctor --file` with a mail that one of your own mailboxes has received names it: "
    "it is the s= of the DKIM-Signature header."
)
_FROM_RELAY = (
    "The relay that signs has the record: a provider shows it where the domain is verified, "
    "OpenDKIM in the .txt file beside the private key, rspamd in what `rspamadm dkim_keygen` "
    "printed."
)


def findings(
    selectors: Sequence[str], domain: str, organizational: str, lookup: Lookup
) -> list[Finding]:
    """Return the findings on the keys of the configured selectors."""
    if not selectors:
        return [
            Finding(
                id="dkim.key",
                level=Level.NOT_CHECKED,
                sentence="The key that verifies our signatures is not known: dkim_selectors does "
                "not say with which selector the relay signs.",
                hint=f"Set dkim_selectors to it. {_RECEIVED}",
                subject=domain,
            )
        ]
    keys: list[Key] = []
    found = [
        finding
        for selector in selectors
        for finding in _selector(selector, domains(domain, organizational), lookup, keys)
    ]
    if keys and all(key.algorithm == "ed25519" for key in keys):
        found.append(_no_rsa(domain))
    return found


def domains(domain: str, organizational: str) -> list[str]:
    """Return the domain and its parents, up to the organizational domain."""
    labels = domain.split(".")
    above = max(len(labels) - organizational.count("."), 1)
    return [".".join(labels[at:]) for at in range(above)]


def _selector(
    selector: str, names: Sequence[str], lookup: Lookup, keys: list[Key]
) -> Iterator[Finding]:
    for domain in names:
        answer = dkim.find(selector, domain, lookup)
        if answer.failure or answer.records:
            yield from _judged(selector, domain, answer, keys)
            return
    name = dkim.name(selector, names[0])
    yield _finding(
        name,
        f"There is no DKIM key at {name}, so no mailbox can verify what is signed with it.",
        f"Publish the key there as TXT record. {_FROM_RELAY}",
    )


def _judged(selector: str, domain: str, answer: Answer, keys: list[Key]) -> Iterator[Finding]:
    name = dkim.name(selector, domain)
    if answer.failure:
        yield Finding(
            id="dkim.key",
            level=Level.NOT_CHECKED,
            sentence=f"The DKIM key at {name} is not known: {answer.failure}.",
            hint="Run `newsletter doctor` again once that is mended.",
            subject=name,
        )
        return
    if len(answer.records) > 1:
        # The behaviour of verifiers is then undefined (RFC 6376 3.6.2.2).
        yield _finding(
            name,
            f"There are {len(answer.records)} TXT records at {name}, and verifiers may take any "
            "of them or none.",
            "Keep the one with the key in use, and take out the others.",
            record=_usable(name, answer.records),
        )
        return
    try:
        key = dkim.read(answer.records[0])
    except UnusableKey as exc:
        yield _finding(
            name,
            f"The DKIM key at {name} cannot be used: {exc}.",
            f"Publish the key again. {_FROM_RELAY}",
        )
        return
    keys.append(key)
    yield from _weak(name, key, answer.records[0])


def _usable(name: str, records: Sequence[str]) -> str:
    """Return the only valid key among several records; empty if there is not exactly one."""
    usable = []
    for text in records:
        try:
            dkim.read(text)
        except UnusableKey:
            continue
        usable.append(text)
    return zone.txt(name, usable[0]) if len(usable) == 1 else ""


def _weak(name: str, key: Key, text: str) -> Iterator[Finding]:
    test = (
        " It is in test mode (t=y), too: mailboxes may treat signed mail as if it were not."
        if key.is_testing
        else ""
    )
    if key.algorithm == "rsa" and key.bits < dkim.SHORTEST:
        yield _finding(
            name,
            f"The DKIM key at {name} is RSA of {key.bits} bits, and mailboxes ignore what has "
            f"less than {dkim.SHORTEST}.{test}",
            f"Have the relay make a key of {dkim.ADVISED} bits, and publish it. {_FROM_RELAY}",
        )
    elif key.algorithm == "rsa" and key.bits < dkim.ADVISED:
        yield _finding(
            name,
            f"The DKIM key at {name} is RSA of {key.bits} bits; {dkim.ADVISED} are advised.{test}",
            f"Have the relay make a longer one with a new selector. {_FROM_RELAY}",
            level=Level.WARNING,
        )
    elif key.is_testing:
        yield _finding(
            name,
            f"The DKIM key at {name} is in test mode (t=y): mailboxes may treat signed mail as "
            "if it were not.",
            "Publish this record, without t=y, in place of the one there.",
            level=Level.WARNING,
            record=zone.txt(name, _without_test(text)),
        )


def _without_test(text: str) -> str:
    kept = []
    for part in text.split(";"):
        tag, _, value = part.partition("=")
        if tag.strip().lower() != "t":
            kept.append(part)
        elif flags := [one for one in value.split(":") if one.strip().lower() != "y"]:
            kept.append(f"{tag}={':'.join(flags)}")
    return ";".join(kept)


def _no_rsa(domain: str) -> Finding:
    return _finding(
        domain,
        f"Every DKIM key of {domain} is of Ed25519, which many mailboxes cannot verify.",
        "Have the relay sign with a key of RSA, too, and add its selector to dkim_selectors "
        "(RFC 8463 3).",
        level=Level.WARNING,
    )


def _finding(
    name: str, sentence: str, hint: str, *, level: Level = Level.ERROR, record: str = ""
) -> Finding:
    return Finding(
        id="dkim.key", level=level, sentence=sentence, hint=hint, subject=shown(name), record=record
    )
