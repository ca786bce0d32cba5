"""`notify install` and `uninstall`: the systemd user unit of the worker."""

from typing import Annotated

import typer

from syftnotify.cli.console import print_line
from syftnotify.cli.options import HomeOption, resolve_home
from syftnotify.cli.worker import stop_worker
from syftnotify.core.errors import NotifyError

_STOP_SECONDS = 30.0  # until a worker outside systemd is killed, as by `notify stop`


def install(
    context: typer.Context,
    template: Annotated[
        bool,
        typer.Option("--template", help="Install the unit syftnotify@.service for any homes; start nothing."),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Install and start a systemd user unit for the worker."""
    if template:
        _install_template()
    else:
        _install(context, home)


def _install_template() -> None:
    from syftnotify.runtime import systemd

    print_line(f"installed: {systemd.install_template()}")
    print_line(
        'start the worker of each home: systemctl --user enable --now "syftnotify@$(systemd-escape --path DIR).service"'
    )


def _install(context: typer.Context, home: HomeOption) -> None:
    from syftnotify.runtime import process, systemd
    from syftnotify.services.settings import check_ready
    from syftnotify.system import ownership, worker_lock

    resolved = resolve_home(context, home)
    ownership.check_home(resolved)
    check_ready(resolved)
    has_stopped_worker = False

    def stop_other_worker() -> None:
        nonlocal has_stopped_worker
        unit = systemd.running_unit(resolved)
        if unit is None and worker_lock.holder_pid(resolved) is not None:
            stop_worker(resolved, _STOP_SECONDS)
            has_stopped_worker = True
        elif unit is not None and unit != systemd.unit_name(resolved):
            systemd.disable(unit)  # an instance of the template: otherwise both would start with the next session

    try:
        path = systemd.install(resolved, stop_other_worker=stop_other_worker)
    except NotifyError:
        if has_stopped_worker:
            process.start(resolved)
        raise
    print_line(f"installed and started: {path}")
    print_line("it starts with your session; run `loginctl enable-linger` to keep it running while you are logged out")


def uninstall(
    context: typer.Context,
    template: Annotated[
        bool, typer.Option("--template", help="Remove the unit syftnotify@.service, and stop its workers.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Stop the worker of the systemd unit, and remove the unit."""
    from syftnotify.runtime import systemd

    path = systemd.uninstall_template() if template else systemd.uninstall(resolve_home(context, home))
    print_line(f"stopped and removed: {path}" if path else "nothing was installed")
