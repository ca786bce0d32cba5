"""Who is put to the test: the real worker with either of its servers, and the naive notifier."""

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
    """Where a subject can be killed by its own hand."""
    if kind == "naive":
        return naive.POINTS
    return tuple(sorted(point for point in failpoints.POINTS if kind == "smtp" or not point.startswith("smtp.")))


class Subject(Protocol):
    """A program under test, with its files in a folder of its own."""

    @property
    def sink(self) -> Sink: ...

    @property
    def box(self) -> Box: ...

    def set_up(self) -> None:
        """Write what the program needs; the sink runs."""

    def command(self, *, report_fd: int, die_at: str) -> list[str]: ...

    def is_quiet(self) -> bool:
        """Whether it believes that it owes nothing any more."""

    def unknown(self) -> Counter[str]:
        """How many attempts of unknown outcome it counted, by the id of the message."""

    def troubles(self) -> Iterator[str]:
        """What is not whole, or not finished, now that it has ended."""


@dataclass(slots=True)
class Ours:
    """The real worker, through Gmail or through a mail server."""

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
            "recipients": {"new_per_day": "none"},  # every round has scientists of its own
        }
        self.box.configure(settings, notify={"peers_from_folders": True})
        if isinstance(self.sink, GmailSink):
            self.sink.google.write_token(self.box.home.token)

    def command(self, *, report_fd: int, die_at: str) -> list[str]:
        arguments = [sys.executable, "-m", self.program, "--home", str(self.box.home.root), "--tell", str(report_fd)]
        return [*arguments, "--die-at", die_at] if die_at else arguments

    def is_quiet(self) -> bool:
        return not self._rows(f"SELECT 1 FROM notifications WHERE state IN {_UNFINISHED} LIMIT 1")

    def unknown(self) -> Counter[str]:
        counted = "SELECT notification, count(*) FROM attempts WHERE outcome = 'unknown' GROUP BY notification"
        return Counter(dict(self._rows(counted)))

    def troubles(self) -> Iterator[str]:
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
            yield f"state.json is not whole: {error!r}"
        for path in home.root.glob("*.damaged-*"):
            yield f"a kill left a damaged file: {path.name}"
        for path in (home.log, self.box.folder / "output.log"):
            if path.exists() and b"Traceback (most recent call last)" in path.read_bytes():
                yield f"something went wrong that nobody foresaw: see {path.name}"

    def _rows(self, query: str) -> list[Any]:
        # "rw" makes no file where there is none.
        with closing(sqlite3.connect(f"file:{self.box.home.outbox}?mode=rw", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()


@dataclass(slots=True)
class Naive:
    """The control."""

    box: Box
    sink: SmtpSink

    @property
    def _state(self) -> Path:
        return self.box.folder / "sent.json"

    def set_up(self) -> None:
        """It has no settings."""

    def command(self, *, report_fd: int, die_at: str) -> list[str]:
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
        return [*arguments, "--die-at", die_at] if die_at else arguments

    def is_quiet(self) -> bool:
        return True

    def unknown(self) -> Counter[str]:
        return Counter()  # it counts none

    def troubles(self) -> Iterator[str]:
        return iter(())


def subject_of(kind: str, folder: Path, seed: str) -> Subject:
    """The subject of that kind, in an empty folder."""
    box = Box(folder)
    box.root.mkdir(parents=True)
    if kind == "naive":
        return Naive(box, SmtpSink(seed))
    return Ours(box, GmailSink(seed) if kind == "gmail" else SmtpSink(seed))
