"""Builds the application: the routes, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from newsletter import clock as clocks
from newsletter.rendering.letter import Confirm
from newsletter.settings import Settings
from newsletter.web import errors, pages
from newsletter.web.dependencies import WebContext
from newsletter.web.middleware import BodyLimit, CleanLinks, EvenPace, Methods, SafeHeaders
from newsletter.web.routes import (
    api,
    archive,
    articles,
    health,
    new_address,
    own_data,
    preferences,
    signup,
    unsubscribe,
)
from newsletter.web.routes.hooks import Hooks

#: The minimum duration of a response to a sign-up; longer than any sign-up needs.
STEP_SECONDS = 0.25
_PACED = {
    "/subscribe": "",
    "/subscriptions": "",
    "/api/v1/subscriptions": "",
    "/confirm/": "/again",
    "/preferences/": "/address",
}


def create_app(
    settings: Settings,
    engine: Engine,
    *,
    clock: Callable[[], datetime] = clocks.utc_now,
    step_seconds: float = STEP_SECONDS,
) -> ASGIApp:
    """Return the ASGI application of one publication.

    Raises RenderError or ConfigurationError for invalid templates or settings.
    """
    routers, web = _routers(settings), WebContext(settings, engine, clock)
    # Renders a page and a letter, so that an invalid template or key fails at start-up.
    web.page("asked", pages.Asked())
    web.publication.draft(Confirm(cadence=settings.box_cadence))
    app: ASGIApp = _framework(web, routers)
    app = BodyLimit(app)
    app = EvenPace(app, step_seconds=step_seconds, paths=_PACED)
    app = Methods(app, _routes(routers))
    app = CleanLinks(app, _routes(routers))
    if settings.hook_secret:
        app = Hooks(app, web)
    app = SafeHeaders(app, is_https=settings.base_url.startswith("https://"))
    if settings.trusted_proxies:
        app = ProxyHeadersMiddleware(app, trusted_hosts=settings.trusted_proxies)  # type: ignore[arg-type,assignment]  # uvicorn has ASGI types of its own
    return app


def _routers(settings: Settings) -> list[APIRouter]:
    routers = [
        signup.router,
        preferences.router,
        own_data.router,
        new_address.router,
        unsubscribe.router,
        archive.router,
        articles.router,
    ]
    if settings.archive:
        routers.append(archive.public)
    if settings.api_keys:
        routers.append(api.router)
    return [*routers, health.router]


def _framework(web: WebContext, routers: list[APIRouter]) -> FastAPI:
    settings = web.settings
    app = FastAPI(
        title=settings.name,
        summary="Subscribe readers, read and change subscriptions.",
        version="1",
        openapi_url="/api/v1/openapi.json" if settings.api_keys else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.web = web
    errors.add_handlers(app)
    for router in routers:
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    settings = app.state.web.settings
    if settings.hook_secret:
        await app.state.web.report_writer.close()
    if settings.count_clicks:
        await app.state.web.click_writer.close()


def _routes(routers: list[APIRouter]) -> list[APIRoute]:
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
