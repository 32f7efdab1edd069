"""Translates errors to pages of the desk, with the way out."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from newsletter.desk import dependencies
from newsletter.errors import (
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    NewsletterError,
    NotFound,
    SchemaOutOfDate,
    TooManyRequests,
)

#: The status by class of error; the first class that matches counts.
_STATUSES: list[tuple[type[Exception], int]] = [
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (TooManyRequests, 429),
    (DatabaseUnavailable, 503),
    (SchemaOutOfDate, 503),
    (PoolTimeout, 503),
    # Mail server, feed, template or setting: the operator's own to see, and to mend.
    (NewsletterError, 502),
]
_SENTENCES = {
    404: "There is no such page.",
    405: "A page cannot be used in this way.",
    413: "That is more than a form may have.",
}


def add_handlers(app: FastAPI) -> None:
    """Register handlers for errors of the domain and of the framework, and for bugs."""
    app.add_exception_handler(NewsletterError, _on_domain)
    app.add_exception_handler(PoolTimeout, _on_domain)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_bug)


def _on_domain(request: Request, exc: Exception) -> Response:
    status = next(status for family, status in _STATUSES if isinstance(exc, family))
    if isinstance(exc, NewsletterError):
        return _page(request, status, exc.message, exc.hint or "")
    return _page(request, status, "All connections to the database are in use.", "Try again.")


def _on_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    sentence = _SENTENCES.get(exc.status_code, str(exc.detail))
    return _page(request, exc.status_code, sentence, "")


def _on_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _page(request, 422, f"{where}: {first['msg']}.", "Go back, and correct it.")


def _on_bug(request: Request, _exc: Exception) -> Response:
    """Return the page for an unexpected exception; the server logs it."""
    return _page(request, 500, "Something went wrong here.", "The log says what: please report it.")


def _page(request: Request, status: int, sentence: str, hint: str) -> Response:
    return dependencies.page(request, "error", status=status, sentence=sentence, hint=hint)
