"""The program of the detached worker: `python -m syftnotify.worker --home DIR --tell FD`.

Units of systemd and the command line of running workers name this module, so its name and options are kept.
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
from syftnotify.runtime.worker import work
from syftnotify.system import logs
from syftnotify.system.ownership import check_home, drop_privileges
from syftnotify.system.paths import Home

log = logging.getLogger("syftnotify.worker")  # not __name__, which is __main__ here


@dataclass(slots=True)
class _Starter:
    """Whoever started us reads one JSON line: that we run, or why we do not."""

    descriptor: int | None
    is_told: bool = False

    def tell(self, message: dict[str, Any]) -> None:
        self.is_told = True
        if self.descriptor is None:
            return
        try:
            os.write(self.descriptor, json.dumps(message).encode("utf-8") + b"\n")
            os.close(self.descriptor)
        except OSError:  # it did not wait for us; that is its right
            log.debug("nobody waits for the start to be told")
        self.descriptor = None


def main(arguments: list[str] | None = None) -> int:
    """Run the worker until it is told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="syftnotify.worker")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--tell", type=int)
    parser.add_argument("--as-owner", action="store_true", help="as root: work as the owner of the home")
    given = parser.parse_args(arguments)
    home = Home.at(given.home)
    starter = _Starter(given.tell)
    os.umask(0o077)  # whatever the caller's: all that we make is for its owner alone
    try:
        if given.as_owner:
            drop_privileges(home)
        check_home(home)
        home.create()
        logs.configure(home.log)
        os.chdir(home.root)
        work(home, started=lambda warnings: starter.tell({"pid": os.getpid(), "warnings": warnings}), detached=True)
    except NotifyError as error:
        log.error("%s%s", "" if starter.is_told else "not started: ", error)
        starter.tell({"error": str(error), "hint": error.hint, "exit_code": error.exit_code})
        return error.exit_code
    except OSError as error:
        starter.tell({"error": f"{home.root}: {error.strerror}", "hint": "see that it is yours", "exit_code": 1})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
