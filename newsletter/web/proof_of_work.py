"""An optional proof of work for each sign-up (ALTCHA).

A browser searches for a number for about half a second, which makes thousands of sign-ups
expensive. A challenge belongs to one form token and expires with it, and its solution is valid
once.
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
#: PBKDF2 iterations per try, and the prefix of the key to be found: 256 tries on average.
_COST = 5_000
_PREFIX = "00"
_PURPOSE = "altcha"
_ONCE = Limit("proof", 1, FORM_LIFETIME)


def challenge(web: WebContext, form: str) -> dict[str, Any] | None:
    """Return the challenge for the form with this token; None if no proof of work is required."""
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
    """Verify the solution for this form and mark it as used; False if invalid or used before."""
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
        # verify_solution checks our signature first, so a forged challenge costs no iterations.
        return any(
            altcha.verify_solution(payload, secret).verified
            for secret in web.keyring.derive(_PURPOSE)
        )
    # The JSON of the solution is untrusted, and may cause any of these errors.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
