"""Starting the server without importing its packages before they are needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError
from syftnotify.runtime.opening import create_outbox

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def check_packages(*, with_grpc: bool = False) -> None:
    """Raises: NotifyError, packages of the server, or of its gRPC service, are not installed."""
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise NotifyError("the server needs more packages", hint="run `pip install 'syftnotify[server]'`")
    if with_grpc and importlib.util.find_spec("grpc") is None:
        raise NotifyError(
            "`serve.grpc_port` needs more packages", hint="run `pip install 'syftnotify[server,grpc]'`, or unset it"
        )


@contextmanager
def serve_in_thread(settings: Settings) -> Iterator[None]:
    """Serve in a thread of this process until the end of the block.

    Raises:
        ConfigError, NotifyError: as `web.server.listen`, or the packages are not installed.
    """
    serve = settings.config.serve
    check_packages(with_grpc=serve is not None and serve.grpc_port is not None)
    from syftnotify.web.server import in_thread

    with create_outbox(settings.home) as outbox, in_thread(settings, outbox):
        yield
