"""Helpers for tests of real workers: starting, killing and observing them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from syftnotify.core.outbox import OutboxCounts
from syftnotify.services.demo import Tree
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock, worker_status
from tests.fakes.google import SECRET, Google
from tests.fakes.ports import listen, refuse_connections
from tests.support import ANA, OWNER, Box, Mail, Sent, wait_until
from tests.trees import TREES, Disk
from tests.trees import Tree as LayoutTree

CODE = "print('mean income')\n"
SUBMITTED: list[Sent] = [("job_submitted", "owner", OWNER), ("job_submitted", "submitter", ANA)]


def demo_tree(box: Box) -> Tree:
    """The tree of `box` with ANA as an approved peer; the job folder exists."""
    box.snapshot.parent.mkdir(parents=True, exist_ok=True)
    box.root.mkdir(exist_ok=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def configure(box: Box, google: Google | None = None, *, second: bool = True, **sections: Any) -> None:
    """Write config.yaml: Gmail if `google` is given, and a Maildir as the `second` transport or the only one."""
    mail = {"type": "gmail", "api_endpoint": google.url, "rate": 100, "burst": 100} if google else None
    transports = {**({"mail": mail} if mail else {}), **({"box": {"type": "maildir"}} if second or not mail else {})}
    notify = {"interval": 1, "sync_state_path": str(box.snapshot), **sections.pop("notify", {})}
    box.configure({"notify": notify, "transports": transports, **sections})
    box.home.config.chmod(0o600)


def worker_pid(box: Box) -> int:
    """The pid of the running worker."""
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    return pid


def start_worker(box: Box) -> int:
    """Run `notify start`; returns the worker's pid."""
    box.notify("start", check=0)
    return worker_pid(box)


def kill_worker(box: Box, pid: int) -> None:
    """Send SIGKILL and wait until the lock is free."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")


def worker_process(box: Box, **environment: str) -> subprocess.Popen[bytes]:
    """The worker program in the foreground, as systemd runs it; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "syftnotify.worker", "--home", str(box.home.root)],
        env={**box.environment(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def has_scanned(box: Box) -> bool:
    return worker_status.read(box.home).last_scan_s is not None


def wait_for_scans(box: Box, times: int = 2) -> None:
    """Wait until the worker has finished `times` more scans."""

    def last_scan() -> float:
        return worker_status.read(box.home).last_scan_s or 0.0

    for _ in range(times):
        before = last_scan()
        wait_until(lambda: last_scan() > before, what="another scan")  # noqa: B023 - called before it changes


def status_json(box: Box) -> dict[str, Any]:
    status = json.loads(box.notify("status", "--json").stdout)
    assert isinstance(status, dict)
    return status


def status_with_code(box: Box) -> tuple[int, dict[str, Any]]:
    """Exit code and output of `notify status --json`."""
    done = box.notify("status", "--json")
    return done.returncode, json.loads(done.stdout)


def sent_mails(box: Box) -> list[Sent]:
    """Event, audience and recipient of every mail in the Maildir."""
    return sent(box.mails())


def sent(mails: Iterable[Mail]) -> list[Sent]:
    """Event, audience and recipient of each mail, sorted."""
    return sorted(mail.sent for mail in mails)


def layout_d(box: Box) -> LayoutTree:
    """The tree of `box` in layout D."""
    return TREES["D"](Disk(box.root, box.clock.time))


def submit_pending(tree: LayoutTree, name: str) -> None:
    """Submit a job to a tree of layout D; its state file says `pending`."""
    tree.submit(name)
    tree.set_state(name, status="pending")  # type: ignore[attr-defined] # layout D has a state


def outbox_counts(box: Box) -> OutboxCounts:
    with contextlib.closing(SqliteOutbox(box.home.outbox, repair=False)) as outbox:
        return outbox.history.counts()


def open_outbox_counts(box: Box) -> OutboxCounts | None:
    """The counts of the outbox; None while it has no tables."""
    with contextlib.suppress(Exception):
        return outbox_counts(box)
    return None


# -- servers ---------------------------------------------------------------------------------------------------------


class PingServer:
    """An HTTP server that records pings, as a dead man's switch does."""

    def __init__(self) -> None:
        self.pings: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.is_silent = False
        self._stopped = threading.Event()
        ping_server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ping_server.pings.append(f"GET {self.path}")
                if ping_server.is_silent:
                    ping_server._stopped.wait(60)
                    return
                self.send_response(ping_server.status)
                for name, value in ping_server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listen()
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}/ping/{SECRET}check"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._server.shutdown()
        refuse_connections(self._server.socket)
        self._server.server_close()


class EchoServer:
    """An HTTP server that responds to every request with an error that contains the request."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.paths: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._respond()

            def _respond(self) -> None:
                server.paths.append(self.path)
                error = {"error": {"code": status, "message": f"{self.path} {self.headers['Authorization']}"}}
                body = json.dumps(error).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def configure(self, box: Box) -> None:
        """Use this server for Gmail and for pings; every secret contains the text SECRET."""
        box.configure(
            {
                "transports": {"mail": {"type": "gmail", "api_endpoint": self.url}},
                "heartbeat": {"ping_url": f"{self.url}/ping-SECRET"},
            }
        )
        token = {
            "token": "access-SECRET",
            "refresh_token": "refresh-SECRET",
            "client_id": "client",
            "client_secret": "client-SECRET",
            "token_uri": f"{self.url}/token",
            "scopes": ["https://www.googleapis.com/auth/gmail.send"],
            "expiry": "2099-01-01T00:00:00Z",
        }
        box.home.token.write_text(json.dumps(token))


def accessible_to_others(folder: Path) -> dict[str, str]:
    """The paths at or below `folder` that other users can access, with their modes."""
    return {
        str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777)
        for path in (folder, *folder.rglob("*"))
        if path.stat().st_mode & 0o077
    }
