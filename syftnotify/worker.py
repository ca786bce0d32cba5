"""Entry point of the background worker: `python -m syftnotify.worker --home DIR --report-fd FD`.

Installed systemd units and running workers depend on the name and the options of this module.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.core.errors import NotifyError
from syftnotify.runtime.startup import run_worker
from syftnotify.system import logs
from syftnotify.system.ownership import check_home, drop_privileges
from syftnotify.system.paths import Home
from syftnotify.system.worker_lock import home_error
from syftnotify.web.launch import serve_in_thread

log = logging.getLogger("syftnotify.worker")  # not __name__, which is __main__ here


@dataclass(slots=True)
class _StartReport:
    """Reports the outcome of the start to the starting process, as one JSON line on a pipe.

    The keys are `pid` and `warnings` after a start, `error`, `hint` and `exit_code` after a failure.
    """

    descriptor: int | None  # of the pipe; None: nobody waits for the report, or it is sent
    is_sent: bool = False

    def send_started(self, warnings: list[str]) -> None:
        self.send({"pid": os.getpid(), "warnings": warnings})

    def send(self, message: dict[str, Any]) -> None:
        self.is_sent = True
        if self.descriptor is None:
            return
        try:
            with os.fdopen(self.descriptor, "wb") as pipe:
                pipe.write(json.dumps(message).encode("utf-8") + b"\n")
        except OSError:  # the starting process has ended or stopped reading
            log.debug("the starting process did not read the start report")
        self.descriptor = None


def main(arguments: list[str] | None = None) -> int:
    """Run the worker until it is stopped, and return its exit code: 0, or that of the error which ended it."""
    parser = argparse.ArgumentParser(prog="syftnotify.worker")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--report-fd", type=int, metavar="FD", help="file descriptor for the start report")
    parser.add_argument("--as-owner", action="store_true", help="as root: run as the owner of the home")
    options = parser.parse_args(arguments)
    home = Home.at(options.home)
    report = _StartReport(options.report_fd)
    os.umask(0o077)  # files of the worker are for its user only
    try:
        _run(home, report, as_owner=options.as_owner)
    except NotifyError as error:
        log.error("%s%s", "" if report.is_sent else "not started: ", error)
        report.send({"error": str(error), "hint": error.hint, "exit_code": error.exit_code})
        return error.exit_code
    return 0


def _run(home: Home, report: _StartReport, *, as_owner: bool) -> None:
    try:
        if as_owner:
            drop_privileges(home)
        check_home(home)
        home.create()
        logs.configure(home.log)
        os.chdir(home.root)
        run_worker(home, serve=serve_in_thread, on_started=report.send_started, detached=True)
    except OSError as error:
        raise home_error(home, error) from error


if __name__ == "__main__":
    sys.exit(main())
