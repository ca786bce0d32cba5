"""The application: routes, errors, limits, and the task of the live streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI

from syftnotify import __version__
from syftnotify.config.load import Settings
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.creation import Idempotency
from syftnotify.services.cursors import prepare_cursors
from syftnotify.web import (
    alert_routes,
    creation_routes,
    delivery_routes,
    inbox_routes,
    job_routes,
    settings_routes,
    silence_routes,
    system_routes,
)
from syftnotify.web.access import RateLimits
from syftnotify.web.limits import REQUEST_SECONDS, BodyLimit, SecurityHeaders
from syftnotify.web.openapi import add_schema
from syftnotify.web.page.access import ProxyAddresses
from syftnotify.web.page.pages import PAGES, answer_problem
from syftnotify.web.problems import ServerErrors, add_handlers
from syftnotify.web.state import ServerState
from syftnotify.web.stream import PING_SECONDS, StreamHub

_DESCRIPTION = "Notifications of syftnotify: the inbox of each person, alert rules, deliveries, and their state."


def create_app(
    settings: Settings,
    outbox: OutboxStore,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    limits: RateLimits,
    idempotency: Idempotency,
    url: str,
    ping_seconds: float = PING_SECONDS,
    request_seconds: float = REQUEST_SECONDS,
) -> FastAPI:
    """The application for one home. `outbox` stays open while it runs; the streams end when it `is_stopping`.

    `url` is the address of the server.
    """
    serve = settings.config.serve
    page_url = serve.url if serve is not None and serve.url else url
    names = {urlsplit(page_url).hostname or "", serve.host.lower() if serve is not None else ""}

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub = StreamHub(outbox, is_stopping, ping_seconds=ping_seconds)
        app.state.server = ServerState(
            settings.home, settings, outbox, hub, limits, idempotency, is_stopping, page_url, frozenset(names)
        )
        await asyncio.to_thread(prepare_cursors, outbox)
        if outbox.cluster is not None:
            await hub.join_cluster(outbox.cluster)
        task = asyncio.create_task(hub.run())
        try:
            yield
        finally:
            hub.close()
            await task

    app = FastAPI(
        title="syftnotify",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts of another site
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.include_router(inbox_routes.router)
    app.include_router(creation_routes.router)
    for prefix in ("", "/v1"):
        app.include_router(alert_routes.router, prefix=prefix)
    for routes in (job_routes, delivery_routes, silence_routes, settings_routes, system_routes):
        app.include_router(routes.router)
    for router in PAGES:
        app.include_router(router)
    add_handlers(app, answer_problem)
    add_schema(app)
    app.add_middleware(ServerErrors, page_answer=answer_problem)
    app.add_middleware(BodyLimit, seconds=request_seconds)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(ProxyAddresses, is_behind_proxy=serve is not None and serve.behind_proxy)
    return app
