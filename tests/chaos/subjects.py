"""The programs under test: the real worker with Gmail or SMTP, and the naive notifier."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from syftnotify.system import failpoints
from tests.chaos import naive
from tests.chaos.sinks import GmailSink, Sink, SmtpSink
from tests.support import Box

_UNFINISHED = ("pending", "sending", "unknown")


def points_of(kind: str) -> tuple[str, ...]:
    """The fail-points at which a subject can kill itself."""
    if kind == "naive":
        return naive.POINTS
    return tuple(sorted(point for point in failpoints.POINTS if kind == "smtp" or not point.startswith("smtp.")))


class Subject(Protocol):
    """A program under test with its own folder."""

    @property
    def sink(self) -> Sink: ...

    @property
    def box(self) -> Box: ...

    def set_up(self) -> None:
        """Write the configuration of the program; the sink is running."""

    def command(self, *, report_fd: int, kill_at: str) -> list[str]: ...

    def is_quiet(self) -> bool:
        """Whether the program has nothing left to send."""

    def unknown(self) -> Counter[str]:
        """The number of recorded attempts of unknown outcome, by message id."""

    def problems(self) -> Iterator[str]:
        """Damaged or unfinished state after the program has ended."""


@dataclass(slots=True)
class WorkerSubject:
    """The real worker, sending through Gmail or SMTP."""

    box: Box
    sink: GmailSink | SmtpSink
    program: str = "tests.chaos.worker"

    def set_up(self) -> None:
        if isinstance(self.sink, GmailSink):
            mail: dict[str, Any] = {"type": "gmail", "token": "gmail_token.json", "api_endpoint": self.sink.google.url}
        else:
            mail = {"type": "smtp", "smtp_url": self.sink.url}
        settings = {
            "transports": {"mail": {**mail, "rate": 1000, "burst": 1000, "timeout_secs": 2}},
            "recipients": {"new_per_day": "none"},  # every round has its own scientists
        }
        self.box.configure(settings, notify={"peers_from_folders": True})
        if isinstance(self.sink, GmailSink):
            self.sink.google.write_token(self.box.home.token)

    def command(self, *, report_fd: int, kill_at: str) -> list[str]:
        arguments = [
            sys.executable,
            "-m",
            self.program,
            "--home",
            str(self.box.home.root),
            "--report-fd",
            str(report_fd),
        ]
        return [*arguments, "--kill-at", kill_at] if kill_at else arguments

    def is_quiet(self) -> bool:
        return not self._rows(f"SELECT 1 FROM notifications WHERE state IN {_UNFINISHED} LIMIT 1")

    def unknown(self) -> Counter[str]:
        query = "SELECT notification, count(*) FROM attempts WHERE outcome = 'unknown' GROUP BY notification"
        return Counter(dict(self._rows(query)))

    def problems(self) -> Iterator[str]:
        home = self.box.home
        for row in self._rows("PRAGMA integrity_check"):
            if row != ("ok",):
                yield f"outbox.db: {row}"
        for state, count in self._rows(
            "SELECT state, count(*) FROM notifications WHERE state != 'sent' GROUP BY state"
        ):
            yield f"outbox.db: {count} notifications are {state}"
        try:
            state = json.loads(home.state.read_bytes())
            if state["owed"]:
                yield f"state.json: still owed {state['owed']}"
        except (OSError, ValueError, KeyError) as error:
            yield f"state.json is damaged: {error!r}"
        for path in home.root.glob("*.damaged-*"):
            yield f"damaged file: {path.name}"
        for path in (home.log, self.box.folder / "output.log"):
            if path.exists() and b"Traceback (most recent call last)" in path.read_bytes():
                yield f"traceback in {path.name}"

    def _rows(self, query: str) -> list[Any]:
        # "rw" does not create the file.
        with closing(sqlite3.connect(f"file:{self.box.home.outbox}?mode=rw", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()


@dataclass(slots=True)
class NaiveSubject:
    """The naive notifier."""

    box: Box
    sink: SmtpSink

    @property
    def _state(self) -> Path:
        return self.box.folder / "sent.json"

    def set_up(self) -> None:
        """It has no settings."""

    def command(self, *, report_fd: int, kill_at: str) -> list[str]:
        server = self.sink.url.removeprefix("smtp://")
        arguments = [
            sys.executable,
            "-m",
            "tests.chaos.naive",
            "--root",
            str(self.box.root),
            "--state",
            str(self._state),
        ]
        arguments += ["--smtp", server, "--report-fd", str(report_fd)]
        return [*arguments, "--kill-at", kill_at] if kill_at else arguments

    def is_quiet(self) -> bool:
        return True

    def unknown(self) -> Counter[str]:
        return Counter()  # it records none

    def problems(self) -> Iterator[str]:
        return iter(())


def create_subject(kind: str, folder: Path, seed: str) -> Subject:
    """Create a subject of that kind in an empty folder."""
    box = Box(folder)
    box.root.mkdir(parents=True)
    if kind == "naive":
        return NaiveSubject(box, SmtpSink(seed))
    return WorkerSubject(box, GmailSink(seed) if kind == "gmail" else SmtpSink(seed))
