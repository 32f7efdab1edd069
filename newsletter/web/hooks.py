"""The hooks of a publication: verifies and parses each provider's requests.

The adapters in `feedback.providers` are pure. This file gives them their keys, and fetches the
certificates that SES needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from newsletter.feedback.providers import generic, mailgun, postmark, resend, sendgrid, ses
from newsletter.feedback.providers.request import HookRequest
from newsletter.feedback.reports import Arrival, Source
from newsletter.settings import Settings
from newsletter.web.sns import Sns

Verify = Callable[[HookRequest, datetime], Awaitable[None]]


@dataclass(frozen=True)
class Hook:
    """The functions that verify and parse the requests of one provider."""

    source: Source
    verify: Verify
    read: Callable[[HookRequest], list[Arrival]]


def of(settings: Settings) -> dict[str, Hook]:
    """Return the hooks in the settings, by the provider's name in the path."""
    found = [
        Hook(source, _by_key(verify, key), read)
        for source, key, verify, read in (
            (Source.SENDGRID, settings.sendgrid_key, sendgrid.verify, sendgrid.read),
            (Source.POSTMARK, settings.postmark_login, postmark.verify, postmark.read),
            (Source.MAILGUN, settings.mailgun_key, mailgun.verify, mailgun.read),
            (Source.RESEND, settings.resend_key, resend.verify, resend.read),
            (Source.GENERIC, settings.generic_hook_key, generic.verify, generic.read),
        )
        if key is not None
    ]
    if settings.ses_topics:
        found.append(Hook(Source.SES, _by_certificate(settings.ses_topics, Sns()), ses.read))
    return {hook.source.value: hook for hook in found}


def _by_key(verify: Callable[[HookRequest, str, datetime], None], key: str) -> Verify:
    async def verify_request(request: HookRequest, now: datetime) -> None:
        verify(request, key, now)

    return verify_request


def _by_certificate(topics: Collection[str], sns: Sns) -> Verify:
    async def verify_request(request: HookRequest, now: datetime) -> None:
        message = ses.opened(request, topics, now)
        certificate = await sns.certificate(message.certificate_url)
        ses.verify(message, certificate, now)
        sns.keep(message.certificate_url, certificate)
        if message.confirms:
            await sns.confirm(message.confirms)

    return verify_request
