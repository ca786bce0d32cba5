"""When do we look, when do we stop? The loop of the one worker of a home."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Nearly all that is imported stays: the collector would go through it again and again, a twelfth of the time.
    gc.disable()  # `work` lets it begin after the first look

import argparse
import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from syftnotify import __version__, logs, running, systemd
from syftnotify.assembly import Parts, alert_warning, assemble, check_ready, syft_bg_pid
from syftnotify.config import Settings
from syftnotify.errors import AlreadyRunningError, LockLostError, NotifyError, StateError
from syftnotify.failpoints import reached
from syftnotify.model import SnapshotStatus
from syftnotify.observe import Wake
from syftnotify.outbox import Counts
from syftnotify.ownership import become_owner, check_home
from syftnotify.paths import Home
from syftnotify.pipeline import Tick
from syftnotify.running import Phase
from syftnotify.text import iso
from syftnotify.vitals import Vitals, sign_in_end_of_each

log = logging.getLogger("syftnotify.worker")  # also when run as a program

_Result = TypeVar("_Result")


class Step(StrEnum):
    """The steps of the loop; each counts its own failures."""

    SCAN = "scan"
    WATCH = "watch"
    HEALTH = "health"
    DELIVERY = "delivery"  # in the threads of the dispatcher, which counts


_HEALTH_GAP = 10.0  # seconds between two checks of transports that fail
_REPORT_GAP = 0.5  # seconds between two reports that only tell of deliveries
_WAKE_GAP = 0.005  # seconds between a wake-up and the look, so that a burst is one look
_FIRST_RETURN = 1.0  # seconds until something unsettled is looked at again; doubles
_LOCK_ERRORS = (AlreadyRunningError, LockLostError)


class Worker:
    """Scans, records and delivers until it is stopped or loses `lock`."""

    def __init__(self, settings: Settings, lock: running.WorkerLock, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._lock = lock
        self._clock = clock
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._stopping = False
        self._woken = False
        self._changed = True
        self._reported = 0.0  # on the monotonic clock
        self._checked = 0.0  # likewise: the last health check between two scans
        self._had_folders: set[Path] = set()  # job folders of an earlier scan
        self._has_begun = False  # deliveries run
        self._is_replaced = False  # another worker holds the home
        self._seconds = 0.0  # that the last look took
        self._failures: dict[str, dict[str, Any]] = {}  # as in the report
        self._last_error = ""
        self._watchdog = systemd.watchdog_seconds()
        self._report = _blank(settings)
        self._report.phase = Phase.STARTING
        self._report.pid, self._report.started_at = os.getpid(), iso(self._clock(), exact=True)
        self._report.last_look_s = running.read(settings.home).last_look_s
        self._save_report()  # before the outbox is opened and checked, which may take long
        self._parts: Parts = assemble(settings, clock=clock, on_change=self._on_change)
        self._vitals = Vitals(self._parts, clock=clock, monotonic=time.monotonic)
        self._wake = Wake(self._on_wake, is_careful=settings.config.notify.watch != "on")
        self._everywhere = True  # whether the next look must be
        self._counts = Counts()

    def begin(self) -> list[str]:
        """The first look; afterwards deliveries run. Returns warnings for whoever started us.

        Raises:
            StateError: the ledger or the outbox cannot be used.
        """
        systemd.say("STATUS=first scan")
        cut = self._parts.outbox.recover(self._clock())
        if cut:
            log.warning("notification: %d attempts were cut off when the last worker ended and may have arrived", cut)
        tick = self._guarded(Step.SCAN, self._look, fatal=(StateError, *_LOCK_ERRORS))
        if self._settings.config.notify.enabled:
            self._parts.dispatcher.start()
            self._has_begun = True
            self._vitals.online()
        else:
            log.warning("notify.enabled is false: nothing is sent")
        self._report.phase = Phase.RUNNING
        self._write_report()
        log.info("worker %s started, pid %d, root %s", __version__, os.getpid(), self._settings.root)
        systemd.say("READY=1\nSTATUS=at work")
        return self._warnings(tick or Tick(problems=[f"the first scan failed: {self._last_error}"]))

    def run(self) -> None:
        """Look every interval, or sooner when woken, until `stop`.

        Raises:
            AlreadyRunningError, LockLostError: the lock file was replaced or removed.
        """
        interval = float(self._settings.config.notify.interval)
        again = _FIRST_RETURN
        restless = True
        try:
            self._guarded(Step.WATCH, self._watch)
            looked_everywhere = time.monotonic()
            while not self._stopping:
                whole = looked_everywhere + interval
                self._rest(min(time.monotonic() + again, whole) if restless else whole)
                if self._stopping:
                    break
                self._everywhere = self._everywhere or time.monotonic() >= whole
                if self._everywhere:
                    looked_everywhere = time.monotonic()
                tick = self._guarded(Step.SCAN, self._look, fatal=_LOCK_ERRORS)
                self._guarded(Step.WATCH, self._watch)
                restless = tick is not None and tick.restless
                again = _FIRST_RETURN if tick is None or tick.events or not restless else again * 2
                self._write_report()
                self._guarded(Step.HEALTH, self._say_how_it_goes)
        except _LOCK_ERRORS as error:
            log.error("stopping: %s", error)
            self._report.ended = "lost its lock"
            self._is_replaced = isinstance(error, AlreadyRunningError)
            raise
        finally:
            self._end()

    def stop(self) -> None:
        """End soon; safe to call from a signal handler."""
        self._stopping = True
        self._ring()

    # -- looking -------------------------------------------------------------------------------------------------

    def _guarded(
        self, step: Step, act: Callable[[], _Result], *, fatal: tuple[type[Exception], ...] = ()
    ) -> _Result | None:
        """Do one step of the loop. A failure, `fatal` aside, is counted until that step succeeds, and retried."""
        try:
            result = act()
        except fatal:
            raise
        except Exception as error:  # the worker must outlive any one step; the log has the traceback
            self._last_error = str(error) or type(error).__name__
            count = self._failures.get(step, {"count": 0})["count"] + 1
            self._failures[step] = {"count": count, "error": self._last_error}
            self._changed = True
            is_known = isinstance(error, StateError)  # its text is complete
            log.error("%s failed (%d in a row): %s", step, count, self._last_error, exc_info=not is_known)
            return None
        if self._failures.pop(step, None):
            self._changed = True
        return result

    def _look(self) -> Tick:
        self._lock.check()
        begun = time.perf_counter()
        now = self._clock()
        pipeline = self._parts.pipeline
        places = self._wake.take()
        where = None if self._everywhere else places
        self._everywhere = True  # unless this one comes to its end
        if self._settings.config.notify.enabled:
            hurried = self._report.last_scan_s is None
            progress = self._note_progress if hurried else None
            tick = pipeline.tick(
                now, last_look=self._report.last_look_s, where=where, hurried=hurried, progress=progress
            )
            if not tick.waiting_for:
                self._report.last_look_s = now
        else:
            tick = pipeline.look()
        self._everywhere = False
        self._seconds = time.perf_counter() - begun
        for problem in tick.problems:
            log.warning("%s", problem)
            self._last_error = problem
        _note_look(self._report, tick, now, self._seconds)
        self._note_folders(tick, now)
        level = logging.INFO if tick.events else logging.DEBUG
        log.log(level, "looked at %d jobs and %d peers in %.3f s", tick.jobs, tick.peers, self._seconds)
        self._parts.dispatcher.poke()  # also for what somebody else put back into the outbox
        if tick.notifications or tick.released:
            self._changed = True
        if self._has_begun and not self._parts.dispatcher.is_alive:
            log.error("the dispatcher had ended; it is started again")
            self._parts.dispatcher.start()
        return tick

    def _note_folders(self, tick: Tick, now: float) -> None:
        """A SyftBox folder that was there and is gone is a fault: an unmounted disk, say. A restart accepts it."""
        there = set() if tick.waiting_for else set(self._parts.jobs.folders())
        missing = self._had_folders - there
        if self._settings.config.role != "owner" and there:
            missing = set()  # other owners come and go
        if not missing:
            self._had_folders |= there
            self._report.vanished = ""
        elif not self._report.vanished:
            what = tick.waiting_for or f"the job folder {min(missing)} is gone"
            self._report.vanished = f"{what} (since {iso(now)}); mount it again, or accept this with `notify restart`"
            log.error("%s", self._report.vanished)

    def _watch(self) -> None:
        if self._settings.config.notify.watch == "off":
            return
        if self._wake.watch([*self._parts.jobs.watchable(), *self._parts.pipeline.watchable()]):
            self._woken = self._everywhere = True  # what changed before the watch stood would else be seen later
        self._report.watching = self._wake.is_watching

    def _rest(self, due: float) -> None:
        """Sleep until the next look is due, on the monotonic clock; deliveries are reported meanwhile."""
        looked = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if self._woken:
                due = min(due, max(looked + self._seconds, now + _WAKE_GAP))
                self._woken = False
            if now >= due:
                return
            unreported = max(0.0, self._reported + _REPORT_GAP - now) if self._changed else due - now
            wait = min(due - now, unreported)
            if self._needs_health_check():
                wait = min(wait, max(0.0, self._checked + _HEALTH_GAP - now))
            if self._watchdog is not None:
                systemd.say("WATCHDOG=1")
                wait = min(wait, self._watchdog / 2)
            select.select([self._bell], [], [], wait)
            self._silence()
            if self._needs_health_check() and time.monotonic() >= self._checked + _HEALTH_GAP:
                self._checked = time.monotonic()
                self._changed = True  # how long a transport has failed is in the report
                self._guarded(Step.HEALTH, self._vitals.check)
            is_time = time.monotonic() >= self._reported + _REPORT_GAP
            if self._changed and is_time and not self._stopping and not self._woken:
                self._write_report()

    def _needs_health_check(self) -> bool:
        """Whether something happened between two scans of which the owner may have to be alerted."""
        if not self._settings.config.notify.enabled:
            return False
        return self._counts.unacknowledged > 0 or any(
            not lane.is_well for lane in self._parts.dispatcher.lanes.values()
        )

    # -- saying how it goes --------------------------------------------------------------------------------------

    def _write_report(self) -> None:
        report = self._report
        if self._changed:
            self._changed = False
            try:
                self._counts = self._parts.outbox.counts(holding=self._settings.holding)
            except StateError as error:
                self._changed = True  # the old counts must not stand until the next change
                self._last_error = str(error)
        _fill(report, self._parts, self._counts)
        report.last_error = report.last_error or self._last_error or None
        self._save_report()

    def _note_progress(self, scanned: int, total: int) -> None:
        """The first scan has read `scanned` of `total` jobs."""
        self._report.scanned, self._report.total = scanned, total
        if scanned == total or time.monotonic() >= self._reported + _REPORT_GAP:
            self._save_report()

    def _save_report(self) -> None:
        self._reported = time.monotonic()
        self._report.reported_s = self._clock()
        dispatcher = self._parts.dispatcher if self._has_begun else None
        failed = {"count": dispatcher.failures, "error": dispatcher.last_error} if dispatcher else {}
        self._report.failures = {**self._failures, **({Step.DELIVERY: failed} if failed.get("count") else {})}
        try:
            running.write(self._settings.home, self._report)
        except OSError as error:
            log.error("worker.json cannot be written: %s", error.strerror)

    def _warnings(self, tick: Tick) -> list[str]:
        found = [*self._settings.warnings, *tick.problems]
        config = self._settings.config
        if names := self._parts.outbox.unreadable_alerts:
            found.append(
                f"the address of alert rule {', '.join(names)} cannot be decrypted; restore secret.key or add it again"
            )
        found += [
            f"alert rule {rule.id}: {warning}; remove it and add it with an https:// address"
            for rule in self._parts.outbox.alerts()
            if (warning := alert_warning(rule))
        ]
        if pid := syft_bg_pid():
            found.append(
                f"syft-bg's notify service runs here too (pid {pid}): every mail would come twice; end one of the two"
            )
        if not config.notify.enabled:
            found.append("notify.enabled is false: nothing is sent")
        elif config.notify.monitor_peers and not config.notify.monitor_jobs:
            found.append("nobody is told of submitted or failed jobs: notify.monitor_jobs is false")
        if tick.waiting_for:
            found.append(f"{tick.waiting_for}; the first scan starts when it is there")
        elif not self._parts.jobs.folders():
            nobody = f"{config.do_email} has no" if config.role == "owner" else "no data owner has a"
            found.append(f"{nobody} job folder below {self._settings.root} yet")
        for warning in found:
            log.warning("%s", warning)
        return found

    def _say_how_it_goes(self) -> None:
        if self._settings.config.notify.enabled:
            self._vitals.after_look(
                self._counts,
                jobs=self._report.jobs,
                peers=self._report.peers,
                looked_well=not self._report.failures.keys() & {Step.SCAN, Step.WATCH, Step.DELIVERY}
                and not (self._report.waiting_for or self._report.vanished),
            )

    # -- being woken and stopped ---------------------------------------------------------------------------------

    def _on_wake(self) -> None:
        self._woken = True
        self._ring()

    def _on_change(self) -> None:
        if not self._changed:  # once rung, it waits for the next report
            self._changed = True
            self._ring()

    def _ring(self) -> None:
        try:
            self._rope.send(b"!")
        except OSError:  # rung often enough already, or the end has come
            return

    def _silence(self) -> None:
        try:
            while self._bell.recv(4096):
                pass
        except BlockingIOError:
            return

    def _end(self) -> None:
        systemd.say("STOPPING=1")
        self._parts.dispatcher.stop()
        self._wake.stop()
        try:
            self._parts.pipeline.settle()
            self._parts.pipeline.remember()
        except StateError as error:
            log.error("the ledger could not be saved at the end: %s", error)
        if not self._is_replaced:  # or the report is another worker's by now
            self._changed = True
            self._report.ended = self._report.ended or "stopped"
            self._write_report()
        self._parts.outbox.close()
        log.info("worker stopped, pid %d: %d waiting, %d sent", os.getpid(), self._counts.waiting, self._counts.sent)


def report_of(parts: Parts, tick: Tick, now: float, seconds: float) -> running.Report:
    """The report of a single look that nobody is going to repeat; `now` and `seconds` are the look's."""
    report = _blank(parts.settings)
    report.reported_s = now
    report.ended = "looked once"
    if not tick.waiting_for:
        report.last_look_s = now
    _note_look(report, tick, now, seconds)
    _fill(report, parts, parts.outbox.counts(holding=parts.settings.holding))
    return report


def _blank(settings: Settings) -> running.Report:
    return running.Report(
        version=__version__,
        home=str(settings.home.root),
        root=str(settings.root),
        enabled=settings.config.notify.enabled,
        interval=settings.config.notify.interval,
        config=settings.fingerprint,
    )


def _note_look(report: running.Report, tick: Tick, now: float, seconds: float) -> None:
    report.jobs, report.peers, report.waiting_for = tick.jobs, tick.peers, tick.waiting_for
    report.delayed = tick.delayed
    report.last_scan, report.last_scan_s = {"at": iso(now, exact=True), "seconds": seconds}, now


def _fill(report: running.Report, parts: Parts, counts: Counts) -> None:
    monotonic = time.monotonic()
    for name, value in asdict(counts).items():
        setattr(report, name, value)
    report.warnings = list(parts.settings.warnings)
    report.peers_source = _source_of(parts.pipeline.peers_status)
    report.last_error = parts.dispatcher.last_error or None
    report.damage = "; ".join(filter(None, (parts.ledger.damage, parts.outbox.damage)))
    report.unreadable_alerts = len(parts.outbox.unreadable_alerts)
    ends = sign_in_end_of_each(parts)
    lanes = parts.dispatcher.lanes
    report.transports = {
        name: {
            "type": section.type,
            "can_send": not lanes[name].trouble(monotonic),
            "problem": lanes[name].trouble(monotonic) or None,
            **({"sign_in_ends": iso(ends[name], exact=True)} if name in ends else {}),
        }
        for name, section in parts.settings.config.transports.items()
    }


def _source_of(status: SnapshotStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    synced_at = None if status.synced_at is None else iso(status.synced_at, exact=True)
    return {
        "path": status.path,
        "synced_at": synced_at,
        "usable": status.usable,
        "problem": status.problem or None,
    }


@contextmanager
def _signals(worker: Worker, *, detached: bool) -> Iterator[None]:
    """SIGTERM and SIGINT end the worker; the handler only sets a flag."""
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(name, lambda *_: worker.stop()) for name in names}
    if detached and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What is made in the block is nearly all kept: the collector would go through it again and again for nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def work(home: Home, *, started: Callable[[list[str]], None] = lambda _warnings: None, detached: bool = False) -> None:
    """Be the worker of `home` until told to stop; `started` is called with warnings after the first look.

    A detached one does not mind losing the terminal; one in the foreground ends with it.

    Raises:
        AlreadyRunningError, ConfigError, NotSignedInError, StateError: it could not start.
        AlreadyRunningError, LockLostError: the lock file was replaced or removed while it ran.
    """
    with running.hold(home) as lock:
        reached("worker.locked")
        settings = check_ready(home)
        with _noting_a_failed_start(home), _undisturbed():
            worker = Worker(settings, lock)
        with _signals(worker, detached=detached):
            with _noting_a_failed_start(home), _undisturbed():
                warnings = worker.begin()
            started(warnings)
            worker.run()


@contextmanager
def _noting_a_failed_start(home: Home) -> Iterator[None]:
    """A worker that cannot start ends in order: its report must not look like one of a worker that was killed."""
    try:
        yield
    except Exception:  # of any kind: it is raised again
        report = running.read(home)
        report.ended = "did not start"
        if report.pid == os.getpid():
            with contextlib.suppress(OSError):
                running.write(home, report)
        raise


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
    """The detached worker's program: `python -m syftnotify.worker --home DIR --tell FD`."""
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
            become_owner(home)
        check_home(home)
        home.create()
        logs.set_up(home.log)
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
