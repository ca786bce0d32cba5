"""`notify serve`: serve the page and the API."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from syftnotify.cli.console import print_line, print_warning
from syftnotify.cli.options import HomeOption, resolve_home


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default 8780.", min=0, max=65535)] = None,
    certfile: Annotated[Path | None, typer.Option(help="TLS certificate chain, PEM.")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its private key; default: in the same file.")] = None,
    behind_proxy: Annotated[
        bool | None, typer.Option("--behind-proxy", help="A proxy on this machine adds TLS.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Serve the page, the inboxes and the API until Ctrl-C.

    Options replace the settings of the section `serve` of config.yaml.
    """
    from syftnotify.runtime.opening import create_outbox
    from syftnotify.services.server_settings import load_with_server, stores_inboxes
    from syftnotify.web.launch import check_packages

    resolved = resolve_home(context, home)
    options = {
        "host": host,
        "port": port,
        "certfile": certfile,
        "keyfile": keyfile,
        "behind_proxy": behind_proxy,
    }
    settings = load_with_server(resolved, options)
    if not stores_inboxes(resolved):
        print_warning(
            "config.yaml has no section `serve`, so the worker stores nothing in inboxes; "
            "run `notify init --serve`, or add `serve: {}`"
        )
    serve = settings.config.serve
    check_packages(with_grpc=serve is not None and serve.grpc_port is not None)
    from syftnotify.web.server import Server, listen

    with (
        create_outbox(resolved) as outbox,
        listen(settings) as listener,
        Server(settings, outbox, listener) as server,
    ):
        # The server handles these signals while it runs, and raises them again at its end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print_line(f"{server.description}; stop it with Ctrl-C")
        server.run()
