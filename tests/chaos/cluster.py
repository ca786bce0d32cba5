"""Runs a campaign of several workers on a shared database, while workers, connections and servers fail."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from syftnotify.store.outbox.postgres.store import PostgresOutbox
from tests import postgres
from tests.chaos.harness import Process, Writer
from tests.chaos.material import owed_by, round_of
from tests.chaos.sinks import SmtpSink
from tests.chaos.verdict import Verdict, judge
from tests.fakes.network import Network, new_network
from tests.fakes.tcp_proxy import TcpProxy, serve_proxy
from tests.support import OWNER, Box

NETWORK_DOWN = "network down"  # only where network namespaces are possible
# How often each fault occurs, of 100. Of the points at which a worker kills or stops itself, those around an attempt
# are the ones that matter to the others.
FAULTS = {
    "SIGKILL": 14,
    "SIGKILL at a point": 14,
    "SIGSTOP beyond the lease": 10,
    "SIGSTOP at a point beyond the lease": 14,
    "connections reset": 14,
    "black hole": 8,
    "delay": 7,
    NETWORK_DOWN: 5,
    "database restart": 6,
    "database crash": 5,
    "promotion": 3,
}
POINTS = ("attempt.claimed", "attempt.sent", "attempt.recorded", "outbox.enqueued", "tick.scanned", "tick.synced")
_ATTEMPT_POINTS = POINTS[:3]
_WRONG_CLOCK = 3600.0
_LEASE_SECONDS = 1.5
_STOPPED_SECONDS = 2.5 * _LEASE_SECONDS
_WAIT_SECONDS = 120.0  # only reached if something hangs
_POINT_SECONDS = 8.0  # in which a worker should reach its point
_MAX_STEPS = 24 * len(round_of(0).steps)  # so that something happens at every fault


@dataclass(frozen=True, slots=True)
class ClusterCampaign:
    """Faults in one database with three workers; the control has no fencing."""

    seed: str
    faults: int
    is_fenced: bool = True


@dataclass(slots=True)
class ClusterOutcome:
    """The result of a campaign."""

    campaign: ClusterCampaign
    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    has_networks: bool = False  # whether each worker had a network of its own
    seconds: float = 0.0
    kept_folder: str = ""


@dataclass(slots=True)
class _Worker:
    """One worker with its own home, and its own way to the database and the mail server."""

    box: Box
    network: Network | None
    proxy: TcpProxy  # to the database
    mail_port: int
    options: tuple[str, ...]
    process: Process | None = None
    armed: tuple[str, ...] = ()

    def configure(self) -> None:
        mail_server = f"smtp://127.0.0.1:{self.mail_port}"
        mail = {"type": "smtp", "smtp_url": mail_server, "rate": 1000, "burst": 1000, "timeout_secs": 2}
        self.box.configure(
            {
                "database": f"postgresql+psycopg://postgres@127.0.0.1:{self.proxy.port}/postgres",
                "syftbox_root": str(self.box.folder.parent / "SyftBox"),
                "transports": {"mail": mail},
                "recipients": {"new_per_day": "none"},
            },
            notify={"peers_from_folders": True},
        )

    def command(self, *, report_fd: int, kill_at: str) -> list[str]:
        at = ("--at", kill_at) if kill_at else ()
        program = [sys.executable, "-m", "tests.chaos.cluster_worker", "--home", str(self.box.home.root)]
        program += ["--report-fd", str(report_fd), *self.options, *at, *self.armed]
        return program if self.network is None else self.network.command(program)

    def start(self, at: str = "", *, stops: bool = False) -> None:
        self.armed = ("--stop",) if stops else ()
        self.process = Process(self, at)  # type: ignore[arg-type] # it has what a process needs of a subject

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        with suppress(ProcessLookupError):
            process.kill(number)
        process.wait(time.monotonic() + _WAIT_SECONDS)
        try:
            return process.code()
        finally:
            process.close()

    @property
    def is_alive(self) -> bool:
        if self.process is not None:
            self.process.wait(time.monotonic())
        return self.process is not None and self.process.ended_at is None


def run_cluster_campaign(campaign: ClusterCampaign) -> ClusterOutcome:
    """Run a campaign in a temporary folder, which is kept if the campaign fails."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    started = time.monotonic()
    with ExitStack() as stack:
        outcome = _ClusterRun(campaign, folder, stack).outcome()
    outcome.seconds = time.monotonic() - started
    if outcome.verdict.is_good or not campaign.is_fenced:
        shutil.rmtree(folder)
    else:
        outcome.kept_folder = str(folder)
    return outcome


class _ClusterRun:
    """A running campaign: a database with a standby, two workers of one tree, and one that only delivers."""

    def __init__(self, campaign: ClusterCampaign, folder: Path, stack: ExitStack) -> None:
        self._campaign = campaign
        self._folder = folder
        self._stack = stack
        self._rng = random.Random(campaign.seed)
        # The control shows that outcomes which come too late are found, so it has the faults that cause them.
        causes = {kind: weight for kind, weight in FAULTS.items() if kind.startswith("SIGSTOP")}
        self._kinds = dict(FAULTS if campaign.is_fenced else causes)
        self._problems: list[str] = []
        self._steps = 0
        version = min(postgres.installations(), key=int)
        self._server = stack.enter_context(postgres.serve(version))
        self._standby: postgres.Server | None = None
        self._sink = stack.enter_context(SmtpSink(campaign.seed))
        (folder / "SyftBox").mkdir()
        control = () if campaign.is_fenced else ("--unfenced",)
        self._workers = [
            self._worker("scanner", control),
            self._worker("wrong-clock", ("--clock", str(_WRONG_CLOCK), *control)),
            self._worker("deliverer", ("--deliver-only", *control)),
        ]
        self._has_networks = all(worker.network is not None for worker in self._workers)
        if not self._has_networks:
            self._kinds.pop(NETWORK_DOWN, None)
        self._writer = Writer(folder / "SyftBox", campaign.seed)
        stack.callback(self._writer.close)

    def _worker(self, name: str, options: tuple[str, ...]) -> _Worker:
        network = self._stack.enter_context(new_network())
        database, mail = (
            self._stack.enter_context(serve_proxy(port, None if network is None else network.listen()))
            for port in (self._server.port, self._sink.port)
        )
        worker = _Worker(Box(self._folder / name), network, database, mail.port, options)
        worker.configure()
        return worker

    def outcome(self) -> ClusterOutcome:
        faults: Counter[str] = Counter()
        try:
            self._workers[0].start()
            self._wait_for_scan(self._workers[0])  # the first scan of an empty tree, so that nothing is in a digest
            for worker in self._workers[1:]:
                worker.start()
                self._wait_for_scan(worker)
            self._set_up_standby()
            while faults.total() < self._campaign.faults:
                self._write(2)
                (kind,) = self._rng.choices(list(self._kinds), list(self._kinds.values()))
                if self._inject(kind):
                    faults[kind] += 1
                self._restart_dead()
            return ClusterOutcome(self._campaign, self._verdict(), faults, self._has_networks)
        finally:
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.close()

    # -- faults --------------------------------------------------------------------------------------------------

    def _inject(self, kind: str) -> bool:
        """Cause a fault; returns whether it happened."""
        worker = self._rng.choice(self._workers)
        if kind == "SIGKILL":
            self._let_work()
            worker.end(signal.SIGKILL)
        elif kind == "SIGSTOP beyond the lease":
            self._let_work()
            self._stop(worker)
        elif "at a point" in kind:
            return self._run_to_point(worker, stops=kind.startswith("SIGSTOP"))
        elif kind == "connections reset":
            self._let_work()
            worker.proxy.reset()
        elif kind == "black hole":
            worker.proxy.is_black_hole = True
            time.sleep(self._rng.uniform(0.5, 2 * _LEASE_SECONDS))  # how long the network fails
            worker.proxy.reset()
            worker.proxy.is_black_hole = False
        elif kind == "delay":
            worker.proxy.delay = self._rng.uniform(0.05, 0.4)
            time.sleep(1.0)  # how long the network is slow
            worker.proxy.delay = 0.0
        elif kind == NETWORK_DOWN:
            assert worker.network is not None
            worker.network.set_up(False)
            time.sleep(self._rng.uniform(0.5, 2 * _LEASE_SECONDS))  # how long the network is down
            worker.network.set_up(True)
        elif kind == "promotion":
            self._promote()
        else:
            self._let_work()
            self._server.stop(signal.SIGINT if kind == "database restart" else signal.SIGQUIT)
            self._server.start()
        return True

    def _stop(self, worker: _Worker) -> None:
        assert worker.process is not None
        worker.process.kill(signal.SIGSTOP)
        time.sleep(_STOPPED_SECONDS)  # until its lease has ended, and others send what it was sending
        worker.process.kill(signal.SIGCONT)

    def _run_to_point(self, worker: _Worker, *, stops: bool) -> bool:
        """Let a worker kill or stop itself at a point; returns whether it reached the point."""
        points = _ATTEMPT_POINTS if "--deliver-only" in worker.options else POINTS
        worker.end(signal.SIGTERM)
        worker.start(f"{self._rng.choice(points)}:{self._rng.randint(1, 3)}", stops=stops)
        assert worker.process is not None
        deadline = time.monotonic() + _POINT_SECONDS
        while not worker.process.last_output and worker.is_alive and time.monotonic() < deadline:
            worker.process.wait(time.monotonic() + 0.2)
            self._write(1)
        if not worker.process.last_output:
            worker.end(signal.SIGKILL)  # it would do it later, perhaps at the end of the campaign
            return False
        if stops:
            time.sleep(_STOPPED_SECONDS)  # until its lease has ended
            worker.process.kill(signal.SIGCONT)
        else:
            worker.end(signal.SIGKILL)
        return True

    def _promote(self) -> None:
        """Lose the primary; the standby has everything, and all workers find it at the same address."""
        assert self._standby is not None
        self._server.stop(signal.SIGQUIT)
        self._standby.execute("SELECT pg_promote()")
        self._server, self._standby = self._standby, None
        for worker in self._workers:
            worker.proxy.target = self._server.port
            worker.proxy.reset()
        self._set_up_standby()

    def _set_up_standby(self) -> None:
        """A synchronous standby: what the primary confirms, both have."""
        self._server.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        self._server.execute("SELECT pg_reload_conf()")
        self._standby = self._stack.enter_context(postgres.stand_by(self._server))
        self._server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._server.execute("SELECT pg_reload_conf()")

    def _let_work(self) -> None:
        time.sleep(self._rng.uniform(0.0, 0.6))  # so that the fault meets the workers at any moment

    def _restart_dead(self) -> None:
        for worker in self._workers:
            if not worker.is_alive:
                if worker.process is not None:
                    has_scanned = worker.process.scanned_at is not None
                    code = worker.end(signal.SIGKILL)
                    # One that cannot reach the database at its start says so and ends, to be started again.
                    if code != -signal.SIGKILL and (has_scanned or code != 1):
                        self._problems.append(f"{worker.box.folder.name} ended with exit code {code}")
                worker.start()

    def _write(self, steps: int) -> None:
        if self._steps + steps <= _MAX_STEPS and self._writer.request_steps(steps):
            self._steps += steps

    def _wait_for_scan(self, worker: _Worker) -> None:
        assert worker.process is not None
        worker.process.wait(time.monotonic() + _WAIT_SECONDS, until_scanned=True)
        if worker.process.scanned_at is None:
            raise RuntimeError(f"{worker.box.folder.name} did not start: {worker.process.start_error}")

    # -- verdict -------------------------------------------------------------------------------------------------

    def _verdict(self) -> Verdict:
        """End all faults, wait until everything is sent, and compare."""
        self._sink.faults.is_disabled = True
        self._restart_dead()
        owed = owed_by(round_of(number) for number in range(self._writer.finish()))
        deadline = time.monotonic() + _WAIT_SECONDS
        for worker in self._workers:
            while worker.process is None or worker.process.scanned_at is None:
                self._restart_dead()
                assert worker.process is not None
                worker.process.wait(deadline, until_scanned=True)
                if time.monotonic() >= deadline:
                    break
        self._sink.mailbox.wait_for(owed, _WAIT_SECONDS)
        while not self._is_quiet() and time.monotonic() < deadline:
            time.sleep(0.1)  # interval of polling
        for worker in self._workers:
            if (code := worker.end(signal.SIGTERM)) != 0:
                self._problems.append(f"unclean stop of {worker.box.folder.name}: exit code {code}")
        unknown = Counter(
            dict(
                self._query(
                    "SELECT notification, count(*) FROM attempts WHERE outcome = 'unknown' GROUP BY notification"
                )
            )
        )
        verdict = judge(owed, self._sink.mailbox.entries, unknown, [*self._problems, *self._remains()])
        if not verdict.is_good:
            self._dump()
        return verdict

    def _dump(self) -> None:
        """Write the content of the database into the folder of the campaign, to find the cause of a violation."""
        program = str(self._server.programs / "pg_dump")
        command = [program, "--data-only", "--dbname", self._server.url().replace("+psycopg", "")]
        with (self._folder / "database.sql").open("wb") as dump:
            subprocess.run(command, stdout=dump, check=True)

    def _is_quiet(self) -> bool:
        return not self._query("SELECT 1 FROM notifications WHERE state IN ('pending', 'sending', 'unknown') LIMIT 1")

    def _remains(self) -> Iterator[str]:
        """Damaged or unfinished state after all workers have ended."""
        for state, count in self._query(
            "SELECT state, count(*) FROM notifications WHERE state <> 'sent' GROUP BY state"
        ):
            yield f"{count} notifications are {state}"
        for (count,) in self._query("SELECT count(*) FROM attempts WHERE outcome = 'started' HAVING count(*) > 0"):
            yield f"{count} attempts have no outcome"
        query = "SELECT notification, count(*) FROM attempts WHERE outcome = 'sent' GROUP BY 1 HAVING count(*) > 1"
        for name, count in self._query(query):
            yield f"{count} attempts have sent {name}"
        url = self._server.url()
        outbox = PostgresOutbox(url, OWNER, self._workers[0].box.home)
        ledger = json.loads(outbox.cluster.leader.load_ledger() or b"{}")
        outbox.close()
        if ledger.get("owed"):
            yield f"the ledger still owes {ledger['owed']}"
        for worker in self._workers:
            for path in (worker.box.home.log, worker.box.folder / "output.log"):
                if path.exists() and b"Traceback (most recent call last)" in path.read_bytes():
                    yield f"traceback in {path}"

    def _query(self, statement: str) -> list[Any]:
        with self._server.connect() as connection:
            connection.execute("SET search_path = syftnotify")
            with suppress(psycopg.errors.UndefinedTable):
                return connection.execute(statement.encode()).fetchall()
        return []
