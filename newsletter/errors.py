"""The exceptions that this project raises on purpose: one hierarchy with a common base class.

The docstring of a class is its default message; `hint` tells the operator what to do. Only the
command line and the web map groups of exceptions to exit codes and HTTP statuses.
"""

from __future__ import annotations

from datetime import datetime, timedelta


class NewsletterError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.hint = hint

    @property
    def message(self) -> str:
        """The sentence for the operator."""
        return str(self.args[0])


class ConfigurationError(NewsletterError):
    """A setting is missing or wrong."""

    def __init__(
        self, message: str | None = None, *, setting: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        #: The name of the setting, as in newsletter.toml.
        self.setting = setting


class InvalidInput(NewsletterError, ValueError):
    """The input cannot be used."""


class InvalidAddress(InvalidInput):
    """The text is not an email address."""


class InvalidToken(InvalidInput):
    """The link was not made by this publication, or is damaged."""


class ExpiredToken(InvalidToken):
    """The link has expired."""

    def __init__(self, message: str | None = None, *, issued_at: datetime) -> None:
        super().__init__(message)
        #: The time (UTC) at which the link was made, so that a page can show its age.
        self.issued_at = issued_at


class OutdatedToken(InvalidToken):
    """The link belongs to an earlier subscription."""

    def __init__(self, *, has_returned: bool = False, has_moved: bool = False) -> None:
        super().__init__()
        #: Whether the reader of the link has subscribed again since.
        self.has_returned = has_returned
        #: Whether the reader's address has changed since.
        self.has_moved = has_moved


class NotFound(NewsletterError, LookupError):
    """There is no such thing."""


class Conflict(NewsletterError):
    """The request contradicts stored data."""


class TooManyRequests(NewsletterError):
    """The request came too often."""

    def __init__(self, message: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        #: The time to wait before the next request.
        self.retry_after = retry_after


class FeedError(NewsletterError):
    """The feed could not be read."""

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        retry_after: timedelta | None = None,
        is_gone: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        #: The wait that the feed's server has asked for (Retry-After), if any.
        self.retry_after = retry_after
        #: Whether the feed's server has responded that it is gone permanently (410).
        self.is_gone = is_gone


class RenderError(NewsletterError):
    """A message could not be composed."""


class TransportUnavailable(NewsletterError, ConnectionError):
    """The mail server could not be used."""


class DatabaseUnavailable(NewsletterError, ConnectionError):
    """The database could not be used."""


class DatabaseBusy(DatabaseUnavailable):
    """Another process has had SQLite's write lock for too long; nothing was written."""


class DiskFull(DatabaseUnavailable):
    """The disk of the database is full."""


class SchemaOutOfDate(NewsletterError):
    """The database was made by another version."""
