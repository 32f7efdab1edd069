"""Translates errors to responses: each class of errors has a status, and a page or JSON.

Use cases do not depend on HTTP. Readers get a page; JSON clients get one object with a `problem`
for programs and a `message` for people.
"""

from __future__ import annotations

import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from newsletter.errors import (
    Conflict,
    DatabaseUnavailable,
    ExpiredToken,
    InvalidInput,
    InvalidToken,
    NewsletterError,
    NotFound,
    OutdatedToken,
    SchemaOutOfDate,
    TooManyRequests,
)
from newsletter.web import dependencies, pages

#: Status and `problem` by class of error; the first class that matches counts.
_FAMILIES: list[tuple[type[Exception], int, str]] = [
    (ExpiredToken, 410, "expired"),
    (OutdatedToken, 410, "outdated"),
    (InvalidToken, 404, "not_found"),
    (InvalidInput, 422, "input"),
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (TooManyRequests, 429, "too_many"),
    (DatabaseUnavailable, 503, "unavailable"),
    (SchemaOutOfDate, 503, "unavailable"),
    (PoolTimeout, 503, "unavailable"),
]
_OURS = 500
_PROBLEMS = {400: "malformed", 401: "key", 404: "not_found", 405: "method", 413: "too_large"}


def add_handlers(app: FastAPI) -> None:
    """Register handlers for errors of the domain and of the framework, and for bugs."""
    app.add_exception_handler(NewsletterError, _on_domain)
    app.add_exception_handler(PoolTimeout, _on_domain)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_bug)


def wants_json(request: Request) -> bool:
    """Return whether to respond with JSON, by the path or the Accept header."""
    path = request.url.path
    if path.startswith(("/api/", "/subscriptions")) or path in {"/healthz", "/readyz"}:
        return True
    return request.headers.get("accept", "").startswith("application/json")


def answer(
    request: Request, status: int, problem: str, message: str, headers: dict[str, str]
) -> Response:
    """Return the response for an error, as JSON or a page."""
    if wants_json(request):
        words = {"status": "refused", "problem": problem, "message": message}
        return JSONResponse(words, status_code=status, headers=headers)
    web = dependencies.web(request)
    name, page = _page(status)
    return web.page(name, page, status=status, headers=headers)


def _page(status: int) -> tuple[str, object]:
    if status == 404:
        return "not_found", pages.NotFound()
    return "error", pages.Error(is_ours=status >= _OURS)


def _on_domain(request: Request, exc: Exception) -> Response:
    status, problem = next(
        ((status, problem) for family, status, problem in _FAMILIES if isinstance(exc, family)),
        (_OURS, "ours"),
    )
    message = exc.message if isinstance(exc, NewsletterError) and status < _OURS else ""
    headers = {"Retry-After": "30"} if status == 503 else {}
    if isinstance(exc, TooManyRequests):
        return _too_many(request, exc)
    if isinstance(exc, InvalidToken) and not wants_json(request):
        return _invalid_link(request, exc, status)
    if status == _OURS:
        raise exc
    if status == 503:
        dependencies.web(request).outages.note("A request could not be answered", exc)
    return answer(request, status, problem, message or "Please try again later.", headers)


def _too_many(request: Request, exc: TooManyRequests) -> Response:
    wait = exc.retry_after
    headers = {"Retry-After": str(math.ceil(wait.total_seconds()))} if wait else {}
    if wants_json(request):
        words = {"status": "too_many", "problem": "too_many", "message": exc.message}
        return JSONResponse(words, status_code=429, headers=headers)
    page = pages.TooMany(retry_after=wait)
    return dependencies.web(request).page("too_many", page, status=429, headers=headers)


def _invalid_link(request: Request, exc: InvalidToken, status: int) -> Response:
    """Return the page for an expired link, which may offer a new one, or for an invalid link."""
    web = dependencies.web(request)
    token = request.path_params.get("token", "")
    if isinstance(exc, ExpiredToken):
        is_signup = request.url.path.startswith("/confirm/")
        age = web.clock() - exc.issued_at
        page = pages.Expired(token=token if is_signup else None, age=age)
        return web.page("expired", page, status=status)
    invalid = pages.Invalid()
    if isinstance(exc, OutdatedToken):
        invalid = pages.Invalid(
            is_outdated=True, has_returned=exc.has_returned, has_moved=exc.has_moved
        )
    return web.page("invalid", invalid, status=status)


def _on_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    problem = _PROBLEMS.get(exc.status_code, "refused")
    return answer(request, exc.status_code, problem, str(exc.detail), headers)


def _on_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return answer(request, 422, "input", f"{where}: {first['msg']}", {})


def _on_bug(request: Request, _exc: Exception) -> Response:
    """Return the response for an unexpected exception; the server logs it."""
    return answer(request, _OURS, "ours", "Something went wrong here. Please try again later.", {})
