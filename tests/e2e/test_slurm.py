"""The Slurm recipe of docs/emitting.md, run by a real Slurm of one node."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_emitting_docs import HERE, INSTALLED, blocks
from tests.emitting import spooled
from tests.support import Box, path_without_spaces, wait_until

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel"]
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="slurmd needs root"),
    pytest.mark.timeout(300),
    pytest.mark.thorough,
]

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One controller and one node on this machine."""

    env: dict[str, str]
    folder: Path

    def run(self, *words: str | bytes) -> str:
        done = subprocess.run(words, env=self.env, cwd=self.folder, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode("utf-8", "replace").strip()

    def submit(self, command: str, *options: str | bytes) -> int:
        return int(
            self.run("sbatch", "--parsable", "--output=/dev/null", "--error=/dev/null", *options, "--wrap", command)
        )

    def state(self, job: int) -> str:
        words = self.run("scontrol", "--oneliner", "show", "job", str(job)).split()
        return next(word.partition("=")[2] for word in words if word.startswith("JobState="))

    def wait_for(self, job: int, *states: str) -> None:
        wait_until(lambda: self.state(job) in states, 120, f"job {job} is {' or '.join(states)}")


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture
def cluster(box: Box, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that runs the script of the page at the end of each job."""
    folder = path_without_spaces(tmp_path) / "cluster"
    for name in ("", "state", "slurmd"):
        (folder / name).mkdir()
    key, munge = folder / "munge.key", folder / "munge.sock"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    lines, script = blocks("Slurm")
    for text in (f"{INSTALLED}/python", "/var/lib/syftnotify"):
        assert text in script
    report = folder / "report-job"
    report.write_text(
        script.replace(f"{INSTALLED}/python", f"{HERE}/python").replace(
            "/var/lib/syftnotify", str(path_without_spaces(box.home.root))
        )
    )
    report.chmod(0o755)
    assert "/etc/slurm/report-job" in lines
    controller, node = free_ports(2)
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=host, controller=controller, node=node, munge=munge, folder=folder)
        + lines.replace("/etc/slurm/report-job", str(report))
    )
    env = {**os.environ, "SLURM_CONF": str(configuration)}
    found = Cluster(env, folder)
    started: list[subprocess.Popen[bytes]] = []

    def begin(*words: str) -> None:
        started.append(
            subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        )

    def says(word: str, *words: str) -> Callable[[], bool]:
        """Whether a command prints `word`; it fails while nobody answers."""
        return lambda: word in subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout

    try:
        files = [f"--{name}-file={folder / f'munge.{name}'}" for name in ("pid", "log", "seed")]
        begin("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}", *files)
        wait_until(munge.exists, what="munged")
        begin("slurmctld", "-D", "-c", "-f", str(configuration))
        wait_until(says("is UP", "scontrol", "ping"), 60, "slurmctld")
        begin("slurmd", "-D", "-f", str(configuration))
        wait_until(says("idle", "sinfo", "--noheader", "--format=%T"), 60, "slurmd")
        yield found
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_slurm_script_reports_each_end_once(box: Box, cluster: Cluster) -> None:
    """A5: completed, failed, killed, timed out, cancelled while it runs and before; and again after a requeue."""
    late = cluster.submit("sleep 300", "--time=1", "--job-name=late")
    cluster.wait_for(late, "RUNNING")
    # A limit has at least a minute; an administrator may move the end of a running job nearer.
    end = (datetime.now() + timedelta(seconds=5)).isoformat(timespec="seconds")  # noqa: DTZ005 - Slurm takes local time
    cluster.run("scontrol", "update", f"JobId={late}", f"EndTime={end}")
    good = cluster.submit("exit 0", "--job-name=good")
    bad = cluster.submit("exit 3", b"--job-name=b\"a'd \xe9 $(id)")
    killed = cluster.submit("kill -9 $$", "--job-name=killed")
    stopped = cluster.submit("sleep 300", "--job-name=stopped")
    never = cluster.submit("exit 0", "--begin=now+1hour", "--job-name=never")
    again = cluster.submit("sleep 1; exit 5", "--requeue", "--job-name=again")  # its runs start a second apart
    tasks = cluster.submit("exit 0", "--array=1-2", "--job-name=tasks")
    cluster.wait_for(stopped, "RUNNING")
    cluster.run("scancel", str(stopped), str(never))
    cluster.wait_for(again, "FAILED")
    cluster.run("scontrol", "requeue", str(again))
    cluster.wait_for(again, "PENDING")
    cluster.run("scontrol", "update", f"JobId={again}", "StartTime=now")  # it would wait for two minutes
    cluster.wait_for(again, "FAILED")
    cluster.wait_for(late, "TIMEOUT")
    ends = 10
    wait_until(lambda: len(reports(box)) >= ends, 60, "each end is reported")

    reported = sorted((event["payload"]["job_id"], event["kind"], code_of(event)) for event in reports(box))
    once = [
        (late, "job_timeout", (0, 0)),
        (good, "job_completed", (0, 0)),
        (bad, "job_failed", (3, 0)),
        (killed, "job_failed", (0, 9)),
        (stopped, "job_cancelled", (0, 0)),
        (never, "job_cancelled", (0, 0)),
    ]
    known = [each[0] for each in once]
    assert sorted(once) == [each for each in reported if each[0] in known]
    # Slurm sometimes fails to launch so early a second run, with another exit code, within the second of the first end.
    assert [each[1] for each in reported if each[0] == again] == ["job_failed"] * 2
    array = [each for each in reported if each[0] not in {*known, again}]
    assert [each[1] for each in array] == ["job_completed"] * 2
    assert tasks in {each[0] for each in array}
    assert len(reported) == ends
    (failed,) = (event for event in reports(box) if event["entity"] == f"slurm/{bad}")
    assert failed["payload"]["name"] == "b\"a'd \ufffd $(id)"
    assert failed["routing"] == {"user": "root"}

    box.configure({"routes": [{"to": ["owner"]}]})
    box.scan()
    assert sorted(mail.event for mail in box.mails()) == sorted(kind for _, kind, _ in reported)
    log = (cluster.folder / "slurmctld.log").read_text(errors="replace")
    assert "jobcomp/script: script" not in log, "the script failed"


def reports(box: Box) -> list[dict[str, Any]]:
    """The emitted events, one per key: Slurm may run the script again for the same end."""
    return list({(event["entity"], event["occurrence"]): event for event in spooled(box)}.values())


def code_of(event: dict[str, Any]) -> tuple[int, int]:
    return event["payload"]["return_code"], event["payload"]["signal"]
