"""Exports of other newsletter tools, recognised by their columns. A table without code.

docs/moving.md has the same table; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from newsletter.subscribers.csv_rows.states import (
    Meaning,
    Standing,
    confirmation,
    flag,
    happened,
    word,
)

ACTIVE, PAUSED, PENDING = Standing.ACTIVE, Standing.PAUSED, Standing.PENDING
SILENT, UNSUBSCRIBED = Standing.SILENT, Standing.UNSUBSCRIBED
BLOCKED, BOUNCED, COMPLAINED = Standing.BLOCKED, Standing.BOUNCED, Standing.COMPLAINED


class Role(StrEnum):
    """The field of an entry that a column is read as."""

    ADDRESS = "address"
    CADENCE = "cadence"
    STATE = "state"
    PAUSED_UNTIL = "paused until"
    OPTED_IN_AT = "time of sign-up"
    OPTED_IN_IP = "IP address of sign-up"
    CONFIRMED_AT = "time of confirmation"
    CONFIRMED_IP = "IP address of confirmation"
    SOURCE = "source"
    WORDING = "words agreed to"
    LANGUAGE = "language"
    TIMEZONE = "time zone"
    #: Roles of our own export only, which are restored unchanged.
    SUBSCRIBED_AT = "subscribed at"
    CREATED_AT = "created at"
    IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One format of one tool's export. Names of columns are normalised by `cells.key`."""

    name: str
    #: The columns by which the tool is recognised; `a|b` means one of the two.
    signature: tuple[str, ...]
    #: Whether the export has only these columns.
    is_all: bool = False
    states: Mapping[str, Meaning] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    #: Columns that only look like a state.
    harmless: frozenset[str] = frozenset()
    #: The minimum standing of each row, independent of its cells.
    every: Standing = SILENT


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split(", "))


def _causes() -> Meaning:
    bounced = dict.fromkeys(("dead", "bounce", "full"), BOUNCED)
    blocked = dict.fromkeys(("operator", "erased", "imported", "opt-out"), BLOCKED)
    return Meaning({**bounced, **blocked, "complaint": COMPLAINED})


OURS = "newsletter"
TOOLS: tuple[Tool, ...] = (
    Tool(
        name=OURS,
        signature=("address", "cadence", "status", "subscribed at", "paused until", "created at"),
        states={"status": word(), "suppression": _causes()},
        roles={
            "subscribed at": Role.SUBSCRIBED_AT,
            "created at": Role.CREATED_AT,
            "opted in at": Role.OPTED_IN_AT,
            "opted in from": Role.OPTED_IN_IP,
            "confirmed at": Role.CONFIRMED_AT,
            "confirmed from": Role.CONFIRMED_IP,
            "consent source": Role.SOURCE,
            "consent wording": Role.WORDING,
        },
    ),
    Tool(
        name="Mailchimp",
        signature=("email address", "leid|euid|member rating|optin time|clean time|unsub time"),
        states={
            "confirm time": confirmation(),
            "unsub time": happened(UNSUBSCRIBED),
            "unsub campaign title": happened(UNSUBSCRIBED),
            "unsub campaign id": happened(UNSUBSCRIBED),
            "unsub reason": happened(UNSUBSCRIBED),
            "unsub reason other": happened(UNSUBSCRIBED),
            "clean time": happened(BOUNCED),
            "clean campaign title": happened(BOUNCED),
            "clean campaign id": happened(BOUNCED),
            "status": word(cleaned=BOUNCED, archived=UNSUBSCRIBED, transactional=PENDING),
        },
        roles={
            "optin time": Role.OPTED_IN_AT,
            "optin ip": Role.OPTED_IN_IP,
            "confirm time": Role.CONFIRMED_AT,
            "confirm ip": Role.CONFIRMED_IP,
        },
    ),
    Tool(
        name="listmonk",
        signature=("uuid", "email", "status", "attributes|attribs"),
        states={"status": word(blocklisted=BLOCKED)},
    ),
    Tool(
        name="Ghost",
        signature=("email", "subscribed to emails", "deleted at|complimentary plan|labels|tiers"),
        states={
            "subscribed to emails": flag(ACTIVE, UNSUBSCRIBED),
            "deleted at": happened(UNSUBSCRIBED),
            "status": word(free=SILENT, paid=SILENT, comped=SILENT, gift=SILENT),
        },
    ),
    Tool(
        name="Substack",
        signature=("email", "email disabled|active subscription"),
        states={"email disabled": flag(UNSUBSCRIBED, ACTIVE)},
        harmless=_names("active subscription, digest enabled, cancel date"),
    ),
    Tool(
        name="Buttondown",
        signature=(
            "email|email address",
            "type|subscriber type",
            "creation date|tags|notes|metadata|secondary id|risk score|referrer url",
        ),
        states={
            "type": (
                _buttondown := word(
                    regular=ACTIVE,
                    premium=ACTIVE,
                    gifted=ACTIVE,
                    trialed=ACTIVE,
                    unpaid=ACTIVE,
                    churning=ACTIVE,
                    past_due=ACTIVE,
                    upcoming=PENDING,
                    spammy=BLOCKED,
                )
            ),
            "subscriber type": _buttondown,
            "unsubscription date": happened(UNSUBSCRIBED),
            "unsubscription reason": happened(UNSUBSCRIBED),
            "undeliverability date": happened(BOUNCED),
            "undeliverability reason": happened(BOUNCED),
        },
        roles={"creation date": Role.OPTED_IN_AT, "ip address": Role.OPTED_IN_IP},
        harmless=_names("commenting disabled, gift subscription message, subscriber import id"),
    ),
    Tool(
        name="Kit",
        signature=("email address|email", "first name", "state", "created at"),
        states={"state": word(inactive=PENDING, cold=ACTIVE, cancelled=UNSUBSCRIBED)},
    ),
    Tool(
        name="Kit",
        signature=("email address|email", "first name", "status", "created at", "tags"),
        states={"status": word(inactive=PENDING, cold=ACTIVE, cancelled=UNSUBSCRIBED)},
    ),
    Tool(
        name="beehiiv",
        signature=(
            "email",
            "status",
            (
                "subscription tier|tier|subscription premium tier names|utm source|utm medium"
                "|referral code|acquisition source|referring site"
            ),
        ),
        states={
            "status": word(
                invalid=BOUNCED,
                validating=PENDING,
                needs_attention=PENDING,
                needs_approval=PENDING,
            )
        },
        roles={"created": Role.OPTED_IN_AT, "subscribe date": Role.OPTED_IN_AT},
    ),
    Tool(
        name="MailerLite",
        signature=(
            "subscriber|email",
            "sent|opens|opens count|clicks count|opted in at",
            "subscribed|status|unsubscribed at",
        ),
        states={
            "status": word(junk=COMPLAINED),
            "type": word(junk=COMPLAINED),
            "unsubscribed at": happened(UNSUBSCRIBED),
            "unsubscribed": happened(UNSUBSCRIBED),
        },
        roles={
            "subscribed": Role.OPTED_IN_AT,
            "subscribed at": Role.OPTED_IN_AT,
            "opted in at": Role.CONFIRMED_AT,
            "optin ip": Role.CONFIRMED_IP,
            "ip address": Role.OPTED_IN_IP,
        },
    ),
    Tool(
        name="Brevo",
        signature=(
            "email",
            (
                "email blocklisted|email blacklisted|sms blocklisted|sms blacklisted|added time"
                "|double opt in|contact id"
            ),
        ),
        states={
            "email blocklisted": flag(BLOCKED),
            "email blacklisted": flag(BLOCKED),
            "blocklisted": flag(BLOCKED),
            "blacklisted": flag(BLOCKED),
            "unsubscribed": flag(UNSUBSCRIBED),
            "email marketing": word(),
        },
        roles={
            "added time": Role.OPTED_IN_AT,
            "created at": Role.OPTED_IN_AT,
            "double opt in": Role.IGNORED,
            "opt in": Role.IGNORED,
        },
        harmless=_names(
            "sms blocklisted, sms blacklisted, whatsapp blocklisted, sms marketing, modified time"
        ),
    ),
    Tool(
        name="MailPoet",
        signature=("email", "global status|list status"),
        states={
            "global status": (_mailpoet := word(inactive=PAUSED)),
            "list status": _mailpoet,
        },
        roles={
            "subscription time": Role.OPTED_IN_AT,
            "subscription ip": Role.OPTED_IN_IP,
            "ip address": Role.OPTED_IN_IP,
            "confirmation time": Role.CONFIRMED_AT,
            "confirmation ip": Role.CONFIRMED_IP,
            "list": Role.SOURCE,
        },
    ),
    Tool(
        name="phpList",
        signature=(
            "email",
            (
                "confirmed|is this subscriber confirmed|is the email of this subscriber confirmed"
                "|is this user confirmed|is the email of this user confirmed"
            ),
            "blacklisted|is this subscriber blacklisted|is this user blacklisted",
        ),
        states={
            **dict.fromkeys(
                (
                    "confirmed",
                    "is this subscriber confirmed",
                    "is the email of this subscriber confirmed",
                    "is this user confirmed",
                    "is the email of this user confirmed",
                ),
                flag(ACTIVE, PENDING),
            ),
            **dict.fromkeys(
                ("blacklisted", "is this subscriber blacklisted", "is this user blacklisted"),
                flag(BLOCKED),
            ),
            "is this account disabled": flag(UNSUBSCRIBED),
            "disabled": flag(UNSUBSCRIBED),
        },
        roles={"entered": Role.OPTED_IN_AT, "ip": Role.OPTED_IN_IP},
        harmless=_names(
            "did this subscriber manually confirm, did this user manually confirm, optedin, "
            "number of bounces, number of bounces on this user, bouncecount, "
            "send this subscriber html emails, send this user html emails, rss frequency"
        ),
    ),
    Tool(
        name="Keila",
        signature=("email", "first name", "last name", "data", "status"),
        states={"status": word(unreachable=BOUNCED)},
        roles={"double opt in at": Role.CONFIRMED_AT, "inserted at": Role.OPTED_IN_AT},
    ),
    Tool(
        name="Mautic",
        signature=(
            "email",
            "do not contact|donotcontact|dnc|dnc reason|preferred locale|date identified",
        ),
        states=dict.fromkeys(
            ("do not contact", "donotcontact", "dnc", "dnc reason"),
            Meaning(
                {
                    **flag(UNSUBSCRIBED).words,
                    "2": BOUNCED,
                    "3": BLOCKED,
                    "manual": BLOCKED,
                },
                dated=UNSUBSCRIBED,
            ),
        ),
        roles={
            "date added": Role.OPTED_IN_AT,
            "preferred locale": Role.LANGUAGE,
            "ip address": Role.OPTED_IN_IP,
        },
        harmless=_names("last active, date last active"),
    ),
    Tool(
        name="HubSpot",
        signature=("email", "portal unsubscribe|portal bounce|portal spam report"),
        states={
            "portal unsubscribe": happened(UNSUBSCRIBED),
            "portal bounce": happened(BOUNCED),
            "global bounce": happened(BOUNCED),
            "portal spam report": happened(COMPLAINED),
        },
        harmless=_names("marketing information"),
        every=UNSUBSCRIBED,
    ),
    Tool(
        name="HubSpot",
        signature=(
            "email",
            (
                "unsubscribed from all email|hs email optout|opted out of email"
                "|marketing contact status|email hard bounce reason|email address quarantined"
                "|record id|hs object id"
            ),
        ),
        states={
            "unsubscribed from all email": flag(UNSUBSCRIBED),
            "opted out of email": flag(UNSUBSCRIBED),
            "hs email optout": flag(UNSUBSCRIBED),
            "email hard bounce reason": happened(BOUNCED),
            "hs email hard bounce reason enum": happened(BOUNCED),
            "email address quarantined": flag(BLOCKED),
            "hs email quarantined": flag(BLOCKED),
            "email address quarantine reason": happened(BLOCKED),
            "hs email quarantined reason": happened(BLOCKED),
            "invalid email address": flag(BOUNCED),
            "hs email bad address": flag(BOUNCED),
            **dict.fromkeys(
                ("marketing contact status", "hs marketable status"),
                Meaning(
                    {
                        "marketing contact": SILENT,
                        "true": SILENT,
                        "non marketing contact": PENDING,
                        "false": PENDING,
                    }
                ),
            ),
        },
        roles={"create date": Role.OPTED_IN_AT, "createdate": Role.OPTED_IN_AT},
        harmless=_names("lead status, hs lead status"),
    ),
    Tool(
        name="Amazon SES",
        signature=("email address", "reason|suppression reason"),
        states=dict.fromkeys(
            ("reason", "suppression reason"), word(bounce=BOUNCED, complaint=COMPLAINED)
        ),
        every=BLOCKED,
    ),
    Tool(
        name="SendGrid bounces, blocks",
        signature=("status", "reason", "email", "created"),
        is_all=True,
        harmless=_names("status, reason"),
        every=BOUNCED,
    ),
    Tool(
        name="SendGrid invalid emails",
        signature=("reason", "email", "created"),
        is_all=True,
        harmless=_names("reason"),
        every=BOUNCED,
    ),
    Tool(
        name="SendGrid spam reports",
        signature=("ip", "email", "created"),
        is_all=True,
        every=COMPLAINED,
    ),
    Tool(
        name="SendGrid unsubscribes",
        signature=("email", "created"),
        is_all=True,
        every=UNSUBSCRIBED,
    ),
    Tool(
        name="SendGrid unsubscribes",
        signature=("email", "group id|group name", "created|created at"),
        every=UNSUBSCRIBED,
    ),
)
