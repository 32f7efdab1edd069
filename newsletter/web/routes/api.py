"""The JSON API for the site's own back end: subscribe, read and change a subscription.

Disabled unless the settings have a key. Subscribing is double opt-in here too; changes are made on
behalf of the reader, and the record of consent has `api` as their source.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from sqlmodel import Session

from newsletter import address as addresses
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import InvalidInput, NotFound
from newsletter.models import Subscriber
from newsletter.subscribers import preferences, store, unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.locking import find_subscriber
from newsletter.web import network, signup_limits
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.signup_limits import Asking

_SOURCE = "api"
_bearer = HTTPBearer(auto_error=False, description="One of the setting `api_keys`.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class Refusal(BaseModel):
    """Why a request was not done."""

    status: Literal["refused", "too_many"]
    #: A word for programs: input, key, not_found, conflict, too_large, too_many, unavailable ...
    problem: str
    #: A sentence for people.
    message: str


# Control and directional characters; not the joiners that Persian and emoji need.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class NewSubscription(BaseModel):
    """Somebody who asks for the newsletter on the site."""

    model_config = ConfigDict(extra="forbid")

    address: str = Field(max_length=1_016, description="Their email address.")
    cadence: Cadence = Field(Cadence.WEEKLY, description="How often they want a digest.")
    wording: str = Field("", max_length=1_000, description="The words that they agreed to.")
    remote: str | None = Field(None, max_length=64, description="Their network address (IP).")

    @field_validator("wording")
    @classmethod
    def _is_legible(cls, value: str) -> str:
        words = " ".join(value.split())
        if _UNWRITABLE.search(words):
            raise ValueError("has a control character in it")
        return words

    @field_validator("remote")
    @classmethod
    def _is_network_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        if (address := network.normalise(value)) is None:
            raise ValueError("is no network address, such as 192.0.2.7 or 2001:db8::1")
        return address


class Taken(BaseModel):
    """A sign-up was accepted; the response is the same for any address."""

    status: Literal["asked"] = "asked"


class Change(BaseModel):
    """The fields to change; one that is left out keeps its value."""

    model_config = ConfigDict(extra="forbid")

    cadence: Cadence | None = Field(None, description="How often they want a digest.")
    status: Literal["active", "paused", "unsubscribed"] | None = Field(
        None, description="active ends a pause; paused begins one; unsubscribed is the goodbye."
    )
    paused_until: AwareDatetime | None = Field(
        None, description="With status paused: when the pause ends; open if left out."
    )


class Subscription(BaseModel):
    """One reader."""

    address: str
    cadence: Cadence
    status: Literal["pending", "active", "paused", "unsubscribed", "suppressed"]
    subscribed_at: datetime | None
    paused_until: datetime | None
    next_at: datetime | None = Field(description="When the next digest is due.")
    created_at: datetime
    updated_at: datetime


def _check_key(web: Context, credentials: _Credentials) -> None:
    given = hashlib.sha256((credentials.credentials if credentials else "").encode()).digest()
    # All keys are compared, in constant time.
    matches = [
        hmac.compare_digest(given, hashlib.sha256(key.encode()).digest())
        for key in web.settings.api_keys
    ]
    if not any(matches):
        raise HTTPException(401, "This needs an API key.", headers={"WWW-Authenticate": "Bearer"})


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": description}
    for status, description in {
        400: "The body cannot be read.",
        401: "The key is missing or wrong.",
        413: "The body is too large.",
        422: "A field cannot be used.",
        503: "The database cannot be used now.",
    }.items()
}
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Refusal, "description": "There is no such reader."}
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Refusal, "description": "That contradicts what the reader is."}
}

router = APIRouter(tags=["subscriptions"], dependencies=[Depends(_check_key)], responses=_REFUSALS)


@router.post("/api/v1/subscriptions", status_code=202, summary="Subscribe somebody")
def subscribe(web: Context, wanted: NewSubscription) -> Taken:
    """Send a confirm letter, if the address may get one; the subscription begins on confirmation.

    At most one letter a day goes to an address, and three in 30 days while none is confirmed.
    """
    origin = Origin(_SOURCE, wording=" ".join(wanted.wording.split()), remote=wanted.remote)
    asking = Asking(addresses.normalise(wanted.address), wanted.cadence, origin)
    signup_limits.ask(web, asking, is_trusted=True)
    return Taken()


@router.get(
    "/api/v1/subscriptions/{address:path}", summary="Read a subscription", responses=_UNKNOWN
)
def read(web: Context, address: str) -> Subscription:
    """Return what is known of one reader."""
    with sessions.reading(web.engine) as session:
        return _shown(web, session, _found(session, address))


@router.patch(
    "/api/v1/subscriptions/{address:path}",
    summary="Change a subscription",
    responses={**_UNKNOWN, **_CONFLICT},
)
def change(web: Context, address: str, wanted: Change) -> Subscription:
    """Change cadence or status on the reader's request, and return the changed subscription."""
    now, origin = web.clock(), Origin(_SOURCE)
    if wanted.paused_until is not None and wanted.status != "paused":
        raise InvalidInput("paused_until goes with the status paused.")
    with sessions.writing(web.engine) as session:
        ends = wanted.cadence is not None or wanted.status in {"unsubscribed", "paused"}
        reader = _found(session, address, ends=ends)
        if wanted.cadence is not None:
            preferences.change_cadence(session, reader, wanted.cadence, origin=origin, now=now)
        if wanted.status is not None:
            _change_status(session, reader, wanted, origin=origin, now=now)
        return _shown(web, session, reader)


def _change_status(
    session: Session, reader: Subscriber, wanted: Change, *, origin: Origin, now: datetime
) -> None:
    if wanted.status == "paused":
        preferences.pause(session, reader, until=wanted.paused_until, origin=origin, now=now)
    elif wanted.status == "active":
        preferences.resume(session, reader, origin=origin, now=now)
    else:
        unsubscribe.unsubscribe(session, reader.public_id, generation=None, origin=origin, now=now)


def _found(session: Session, address: str, *, ends: bool | None = None) -> Subscriber:
    chosen = store.with_address(addresses.normalise(address))
    reader = find_subscriber(session, chosen, ends=ends)
    if reader is None:
        raise NotFound("There is no such reader.")
    return reader


def _shown(web: WebContext, session: Session, reader: Subscriber) -> Subscription:
    return Subscription.model_validate(
        {
            "address": reader.address,
            "cadence": reader.cadence,
            "status": reader.status,
            "subscribed_at": reader.subscribed_at,
            "paused_until": reader.paused_until,
            "next_at": web.next_at(reader, session),
            "created_at": reader.created_at,
            "updated_at": reader.updated_at,
        }
    )
