"""A proof of work for each sign-up (ALTCHA), where a setting asks for it.

A browser searches half a second for a number; who signs up thousands of addresses pays for each.
The work is bound to one form of ours: it is as old as that, and it is good once.
"""

from __future__ import annotations

from typing import Any

import altcha

from newsletter import throttle
from newsletter.db import session as sessions
from newsletter.throttle import Limit
from newsletter.tokens import FORM_LIFETIME
from newsletter.web.dependencies import WebContext

_ALGORITHM = "PBKDF2/SHA-256"
#: Iterations of each try, and how the key that is looked for begins: 256 tries on the average.
_COST = 5_000
_PREFIX = "00"
_PURPOSE = "altcha"
_ONCE = Limit("proof", 1, FORM_LIFETIME)


def challenge(web: WebContext, form: str) -> dict[str, Any] | None:
    """Return the work to be done for the form with this token; None where none is asked for."""
    if not web.settings.altcha:
        return None
    made = altcha.create_challenge(
        _ALGORITHM,
        _COST,
        key_prefix=_PREFIX,
        data={"form": form},
        hmac_secret=web.keyring.derive(_PURPOSE)[0],
    )
    return dict(made.to_dict())


def spend(web: WebContext, form: str, solution: str) -> bool:
    """Return whether the work for this form was done, and was not spent before; spend it."""
    if not web.settings.altcha:
        return True
    if not _is_solved(web, form, solution):
        return False
    with sessions.writing(web.engine) as session:
        return throttle.take(session, _ONCE, form, now=web.clock(), keyring=web.keyring)


def _is_solved(web: WebContext, form: str, solution: str) -> bool:
    try:
        payload = altcha.Payload.from_base64(solution)
        if payload.challenge.parameters.data != {"form": form}:
            return False
        # Only what we have signed is worked on: the signature is checked first.
        return any(
            altcha.verify_solution(payload, secret).verified
            for secret in web.keyring.derive(_PURPOSE)
        )
    # Whatever a stranger can put into JSON.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
