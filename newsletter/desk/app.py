"""The desk as an ASGI application: its routes, and the middleware around them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.types import ASGIApp

from newsletter import clock as clocks
from newsletter.desk import dependencies, errors
from newsletter.desk.dependencies import DeskContext
from newsletter.desk.doorkeeper import Doorkeeper
from newsletter.desk.limits import UploadLimit
from newsletter.desk.routes import (
    articles,
    audit,
    compose,
    delivery,
    editions,
    feeds,
    findings,
    growth,
    imports,
    monitoring,
    publication,
    reader,
    readers,
    reports,
    signing,
    suppressions,
    today,
    upcoming,
)
from newsletter.errors import InvalidInput
from newsletter.settings import Settings
from newsletter.web.middleware import Methods, SafeHeaders

#: The pages, for which somebody has to be signed in.
_ROUTERS = [
    today.router,
    compose.router,
    upcoming.router,
    editions.router,
    articles.router,
    delivery.router,
    reports.router,
    findings.router,
    feeds.router,
    imports.router,
    readers.router,
    reader.router,
    suppressions.router,
    growth.router,
    publication.router,
    audit.router,
]


def create_app(
    settings: Settings, engine: Engine, *, clock: Callable[[], datetime] = clocks.utc_now
) -> ASGIApp:
    """Return the ASGI application of one publication's desk."""
    context = DeskContext(settings, engine, clock)
    with suppress(InvalidInput):
        context.importing.uploads.prune(clock())
    routers = [signing.router, monitoring.router, *_ROUTERS]
    app: ASGIApp = _framework(context, routers)
    app = UploadLimit(app)
    app = Methods(app, _routes(routers))
    app = Doorkeeper(app, engine=engine, settings=settings, clock=clock)
    # A form's Origin would be "null" without any referrer.
    return SafeHeaders(app, is_https=context.is_https, referrer_policy="same-origin")


def page_routes() -> list[APIRoute]:
    """Return the routes for which somebody has to be signed in."""
    return _routes(_ROUTERS)


def _framework(context: DeskContext, routers: list[APIRouter]) -> FastAPI:
    app = FastAPI(
        title="Desk", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.desk = context
    errors.add_handlers(app)
    for router in routers:
        checks = [] if router in (signing.router, monitoring.router) else [_CHECKED]
        app.include_router(router, dependencies=checks)
    return app


_CHECKED = Depends(dependencies.checked)


def _routes(routers: list[APIRouter]) -> list[APIRoute]:
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
