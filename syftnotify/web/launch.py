"""Starting the server without importing its packages before they are needed."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError
from syftnotify.runtime.opening import create_outbox

log = logging.getLogger(__name__)

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
_RETRY_SECONDS = 10.0
_JOIN_SECONDS = 10.0  # the server itself ends open requests after a second


def check_packages(*, with_grpc: bool = False) -> None:
    """Raises: NotifyError, packages of the server, or of its gRPC service, are not installed."""
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise NotifyError("the server needs more packages", hint="run `pip install 'syftnotify[server]'`")
    if with_grpc and importlib.util.find_spec("grpc") is None:
        raise NotifyError(
            "`serve.grpc_port` needs more packages", hint="run `pip install 'syftnotify[server,grpc]'`, or unset it"
        )


class ServerThread:
    """Serves in a thread, and tries again while it cannot: for example another program has the port.

    Attributes:
        url: the address of the API; empty while it is not served.
        problem: why it is not served; empty while it is.
    """

    def __init__(self, settings: Settings, on_change: Callable[[], None]) -> None:
        """`on_change` is called in the thread after `url` and `problem` have changed."""
        self.url = self.problem = ""
        self._settings = settings
        self._on_change = on_change
        self._is_stopping = threading.Event()
        self._is_decided = threading.Event()
        self._stop_server: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="serve", daemon=True)

    def start(self) -> None:
        """Start, and wait until the first attempt to listen has succeeded or failed."""
        self._thread.start()
        self._is_decided.wait()

    def stop(self) -> None:
        """End all streams and requests."""
        self._is_stopping.set()
        self._stop_server()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                self._serve()
            except NotifyError as error:
                self._set(problem=f"{error}; {error.hint}" if error.hint else str(error))
            except Exception as error:  # the outermost loop of a thread: nobody else would report it
                log.exception("the server has ended")
                self._set(problem=f"it has ended: {type(error).__name__}")
            self._is_stopping.wait(_RETRY_SECONDS)
        self._set()

    def _serve(self) -> None:
        serve = self._settings.config.serve
        check_packages(with_grpc=serve is not None and serve.grpc_port is not None)
        from syftnotify.web.server import Server, listen

        with (
            create_outbox(self._settings.home) as outbox,
            listen(self._settings) as listener,
            Server(self._settings, outbox, listener) as server,
        ):
            self._stop_server = server.stop
            log.info("%s", server.description)
            self._set(url=server.url)
            if not self._is_stopping.is_set():
                server.run()

    def _set(self, *, url: str = "", problem: str = "") -> None:
        if problem and problem != self.problem:
            log.warning("the API is not served: %s", problem)
        self.url, self.problem = url, problem
        self._is_decided.set()
        self._on_change()


@contextmanager
def serve_in_thread(settings: Settings, on_change: Callable[[], None]) -> Iterator[ServerThread]:
    """Serve in a thread of this process until the end of the block."""
    server = ServerThread(settings, on_change)
    server.start()
    try:
        yield server
    finally:
        server.stop()
