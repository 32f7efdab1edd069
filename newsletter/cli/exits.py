"""The exit codes of commands.

0 done or nothing to do, 1 failed, 2 usage, 3 findings, 75 try again later.
"""

from __future__ import annotations

from newsletter.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    NewsletterError,
    TransportUnavailable,
)

FAILED = 1
USAGE = 2
#: The command found something that needs action.
FOUND = 3
#: EX_TEMPFAIL of sysexits.h: the same command will work later.
TRY_AGAIN = 75


def of(exc: NewsletterError) -> int:
    """Return the exit code of a command that ends with an error."""
    if isinstance(exc, ConfigurationError | InvalidInput):
        return USAGE
    if isinstance(exc, TransportUnavailable | DatabaseUnavailable):
        return TRY_AGAIN
    return FAILED
