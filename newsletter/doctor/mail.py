"""Checks a received mail: its signature and the signed headers, alignment, one-click headers.

Pure functions: they get the mail, its verified signatures and a look-up, and return findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.doctor.received import COVERED, Received
from newsletter.doctor.records import dmarc, spf
from newsletter.doctor.records.answers import Lookup
from newsletter.doctor.records.spf import Result
from newsletter.doctor.signatures import Signature, Verdict
from newsletter.settings import Settings

_URI = re.compile(r"<\s*([^<>\s]{1,2000})\s*>")
_ONE_CLICK = "List-Unsubscribe=One-Click"
_DIGEST = "Judge a digest: letters to one reader have no such headers."
_SIGNED_ALONE = (
    "OpenDKIM leaves List-Unsubscribe-Post out by default: SignHeaders *,+List-Unsubscribe-Post in "
    "opendkim.conf adds it. mox leaves out all List headers: name them in Headers of the DKIM "
    "selector in domains.conf."
)


def examine(
    mail: Received, signatures: Sequence[Signature], settings: Settings, lookup: Lookup
) -> Examined:
    """Check a received mail."""
    own = _own(mail, signatures, lookup)
    findings = [
        *_sender(mail, settings),
        *_signature(mail, own),
        *_covered(mail, own),
        *_alignment(mail, signatures, lookup),
        *_headers(mail, settings),
        *_way(mail, own, settings),
    ]
    return Examined(
        checks=Checks.MAIL,
        looked_at=("mail.sender", "dkim.signature", "dkim.headers", "align", "list.unsubscribe"),
        findings=tuple(findings),
    )


def _own(mail: Received, signatures: Sequence[Signature], lookup: Lookup) -> list[Signature]:
    """Return the signatures of the From domain, or of one aligned with it, the best first."""
    found = [
        one for one in signatures if dmarc.is_aligned(one.domain, mail.domain, lookup) is not False
    ]
    return sorted(found, key=lambda one: (list(Verdict).index(one.verdict), _missing(mail, one)))


def _sender(mail: Received, settings: Settings) -> Iterator[Finding]:
    if mail.sender.lower() != settings.sender_address.lower():
        yield Finding(
            id="mail.sender",
            level=Level.WARNING,
            sentence=f"The mail is from {mail.sender}, and sender is {settings.sender_address}.",
            hint="Judge a mail of this newsletter; if it is one, the relay has changed its From "
            "header, which it must not.",
        )


def _signature(mail: Received, own: Sequence[Signature]) -> Iterator[Finding]:
    if not own:
        yield Finding(
            id="dkim.signature",
            level=Level.ERROR,
            sentence=f"The mail has no DKIM signature of {mail.domain}.",
            hint="Have the relay sign with a key of your own domain: at a provider that is called "
            "domain authentication, on a server of your own OpenDKIM or rspamd does it.",
        )
        return
    best = own[0]
    name = f"The DKIM signature of {best.domain} (selector {best.selector})"
    if best.verdict is Verdict.BROKEN:
        yield Finding(
            id="dkim.signature",
            level=Level.ERROR,
            sentence=f"{name} does not hold: {best.why}.",
            hint="Sign as the last step before the mail leaves, and let nothing change it "
            "afterwards: footers, virus scanners and link rewriting do. A mail that was forwarded, "
            "or saved by a program that changes lines, fails, too.",
        )
    elif best.verdict is Verdict.UNKNOWN:
        yield Finding(
            id="dkim.signature",
            level=Level.NOT_CHECKED,
            sentence=f"{name} could not be verified: {best.why}.",
            hint="The header Authentication-Results of the mail says what its receiver found.",
        )


def _covered(mail: Received, own: Sequence[Signature]) -> Iterator[Finding]:
    if not own:
        return
    missing = _missing(mail, own[0])
    if missing:
        headers = ", ".join(missing)
        are = "is" if len(missing) == 1 else "are"
        yield Finding(
            id="dkim.headers",
            level=Level.ERROR,
            sentence=f"{headers} {are} in the mail and not under its DKIM signature (h=).",
            hint=f"Have the relay sign them: mailbox providers show the unsubscribe button only "
            f"then. {_SIGNED_ALONE}",
        )


def _missing(mail: Received, signature: Signature) -> list[str]:
    return [
        name
        for name in COVERED
        if name.lower() in mail.present and name.lower() not in signature.covers
    ]


def _alignment(
    mail: Received, signatures: Sequence[Signature], lookup: Lookup
) -> Iterator[Finding]:
    """Check that DMARC passes, by DKIM or by SPF (RFC 9989 4.4)."""
    walk = dmarc.walk(mail.domain, lookup)
    policy = walk.policy[1] if walk.policy else None

    def is_aligned(domain: str, tag: str) -> bool | None:
        strict = policy is not None and policy.value(tag) == "s"
        return dmarc.is_aligned(domain, mail.domain, lookup, strict=strict)

    by_dkim = [
        (is_aligned(one.domain, "adkim"), one.verdict)
        for one in signatures
        if one.verdict is not Verdict.BROKEN
    ]
    if (True, Verdict.HOLDS) in by_dkim:
        return
    result = _spf(mail, lookup)
    by_spf = is_aligned(mail.envelope_domain, "aspf") if mail.envelope_domain else None
    if result == Result.PASS and by_spf:
        yield Finding(
            id="align",
            level=Level.WARNING,
            sentence=f"DMARC passes by SPF of {mail.envelope_domain} alone: no DKIM signature that "
            f"holds is aligned with {mail.domain}.",
            hint="Sign with a key of the From domain, too: SPF fails where a mail is forwarded.",
        )
    elif (
        result is None
        or by_spf is None
        or walk.failure
        or any(aligned is not False for aligned, _ in by_dkim)
    ):
        yield Finding(
            id="align",
            level=Level.NOT_CHECKED,
            sentence=f"Whether the mail is aligned with {mail.domain} cannot be told: "
            f"{walk.failure or 'it has no signature that could be verified, and no trace of SPF'}.",
            hint="Look for dmarc=pass in its header Authentication-Results.",
        )
    else:
        yield _unaligned(mail, signatures, result)


def _unaligned(mail: Received, signatures: Sequence[Signature], result: Result) -> Finding:
    signers = sorted({one.domain for one in signatures if one.verdict is Verdict.HOLDS})
    by = ", ".join(signers) or "nobody"
    return Finding(
        id="align",
        level=Level.ERROR,
        sentence=f"DMARC fails for {mail.domain}: the mail is signed by {by}, and SPF says "
        f"{result} for {mail.envelope_domain}.",
        hint="Have the relay sign with a key of your From domain, or use a return path at that "
        "domain (return_path) whose SPF record has the relay.",
    )


def _spf(mail: Received, lookup: Lookup) -> Result | None:
    """Return the receiver's SPF result, or else evaluate its client; None if neither is known."""
    if mail.spf in set(Result):
        return Result(mail.spf)
    if not (mail.client and mail.envelope_domain):
        return None
    sender = mail.envelope or f"postmaster@{mail.envelope_domain}"
    result = spf.check_host(mail.client, mail.envelope_domain, sender, lookup).result
    return None if result is Result.TEMPERROR else result


def _way(mail: Received, own: Sequence[Signature], settings: Settings) -> Iterator[Finding]:
    """Yield findings on relay addresses and selectors of the mail that the settings lack."""
    known = [str(one) for one in settings.sending_addresses]
    said = []
    if own and own[0].selector not in settings.dkim_selectors:
        said.append(f"it is signed with selector {own[0].selector} (dkim_selectors)")
    if mail.client and mail.client not in known:
        said.append(f"it came from {mail.client} (sending_addresses)")
    if said:
        yield Finding(
            id="mail.way",
            level=Level.INFO,
            sentence=f"The way of the mail: {' and '.join(said)}.",
            hint="With these settings `newsletter doctor --dns` looks at key and address, too; "
            "docs/dns.md says when they are needed.",
        )


def _headers(mail: Received, settings: Settings) -> Iterator[Finding]:
    """Check the headers of one-click unsubscribing (RFC 8058)."""
    if problem := _problem(mail):
        yield Finding(
            id="list.unsubscribe",
            level=Level.ERROR,
            sentence=problem,
            hint=f"The relay must pass them on as they are. {_DIGEST}",
        )
        return
    base = urlsplit(settings.base_url)
    try:
        host = urlsplit(_links(mail)[0]).hostname
    except ValueError:
        host = None
    if host != base.hostname:
        yield Finding(
            id="list.unsubscribe",
            level=Level.WARNING,
            sentence=f"List-Unsubscribe leads to {host or 'no host'}, and base_url is at "
            f"{base.hostname}.",
            hint="Turn off the provider's own unsubscribe and link tracking: else it keeps readers "
            "who left to itself.",
        )


def _problem(mail: Received) -> str:
    if len(mail.unsubscribe) != 1:
        count = len(mail.unsubscribe) or "no"
        return f"The mail has {count} List-Unsubscribe header{'s' if mail.unsubscribe else ''}."
    if len(_links(mail)) != 1:
        return "List-Unsubscribe has to have exactly one https:// link (RFC 8058)."
    if [" ".join(one.split()) for one in mail.one_click] != [_ONE_CLICK]:
        return f'The mail has no single header "List-Unsubscribe-Post: {_ONE_CLICK}".'
    return ""


def _links(mail: Received) -> list[str]:
    found = _URI.findall(mail.unsubscribe[0])
    return [uri for uri in found if uri.lower().startswith("https://")]
