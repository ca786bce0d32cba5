"""`notify serve`, `notify token`, and the server inside the worker, with the real commands."""

from __future__ import annotations

import json
import re
import signal
import threading
from typing import Any

import httpx
import pytest

from tests.support import ANA, TIMEOUT, Box, wait_until
from tests.web import serve_process, worker_url

LIST = "/v1/notifications"


@pytest.fixture
def home(box: Box) -> Box:
    box.configure({"serve": {"port": 0}})
    return box


def new_token(box: Box, *options: str) -> str:
    """What `notify token create` prints."""
    return box.notify("token", "create", "--user", ANA, *options, check=0).stdout.strip()


@pytest.mark.thorough
def test_token_is_printed_alone_and_works_until_it_is_revoked(home: Box) -> None:
    done = home.notify("token", "create", "--user", ANA.upper(), check=0)
    secret = done.stdout.removesuffix("\n")
    listed = json.loads(home.notify("token", "list", "--json", check=0).stdout)

    assert re.fullmatch(r"syn_[\w-]{43}", secret)
    assert done.stderr == ""
    assert [(token["user"], token["role"], token["expires_at"]) for token in listed] == [(ANA, "viewer", None)]
    assert secret not in json.dumps(listed) + home.notify("token", "list", check=0).stdout
    with serve_process(home.home, home.environment()) as (_, url):
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{url}{LIST}", headers=headers, timeout=TIMEOUT, trust_env=False).status_code == 200
        home.notify("token", "revoke", listed[0]["id"][:6], check=0)
        assert httpx.get(f"{url}{LIST}", headers=headers, timeout=TIMEOUT, trust_env=False).status_code == 401
    assert "revoked" in home.notify("token", "list", check=0).stdout


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--user", "a b"), "cannot be a user"),
        (("--user", ANA, "--role", "admin"), "is not a role"),
        (("--user", ANA, "--expires", "2020-01-01"), "is in the past"),
        (("--user", ANA, "--expires", "soon"), "is not a time"),
    ],
)
def test_wrong_token_options_are_refused(home: Box, options: tuple[str, ...], error: str) -> None:
    done = home.notify("token", "create", *options, check=2)

    assert error in " ".join(done.stderr.split())
    assert json.loads(home.notify("token", "list", "--json", check=0).stdout) == []


class Stream:
    """A client that reads the live stream in a thread."""

    def __init__(self, url: str, secret: str) -> None:
        self.lines: list[str] = []
        self._url, self._headers = url, {"Authorization": f"Bearer {secret}"}
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: self.lines, what="the connection")

    def _read(self) -> None:
        url = f"{self._url}{LIST}/stream"
        with httpx.stream("GET", url, headers=self._headers, timeout=TIMEOUT, trust_env=False) as response:
            self.lines.extend(response.iter_lines())


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_at_a_signal_with_clients_attached(home: Box, number: signal.Signals) -> None:
    secret = new_token(home)
    with serve_process(home.home, home.environment()) as (process, url):
        streams = [Stream(url, secret) for _ in range(20)]
        process.send_signal(number)

        assert process.wait(TIMEOUT) == 0
        assert streams


def test_server_in_the_worker_shows_what_the_worker_notifies(box: Box) -> None:
    from tests.trees import TREES, Disk

    box.configure({"serve": {"enabled": True, "port": 0}})
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.notify("start", check=0)
    try:
        url = worker_url(box)
        secret = new_token(box)
        tree.submit()
        headers = {"Authorization": f"Bearer {secret}"}

        def kinds() -> list[Any]:
            answer = httpx.get(f"{url}{LIST}", headers=headers, timeout=TIMEOUT, trust_env=False)
            return [record["kind"] for record in answer.json()["notifications"]]

        wait_until(lambda: kinds() == ["JOB_SUBMITTED"], what="the notification")
        assert "  stored  " in box.notify("history", check=0).stdout
        stream = Stream(url, secret)
        assert stream.lines
    finally:
        box.notify("stop", check=0)
    assert "Traceback" not in box.home.log.read_text()


@pytest.mark.thorough
def test_worker_whose_port_is_in_use_notifies_without_the_api(home: Box) -> None:
    """One bad setting stops nothing else; `start` and `status` say so."""
    with serve_process(home.home, home.environment()) as (_, url):
        home.configure({"serve": {"enabled": True, "port": int(url.rpartition(":")[2])}})
        started = home.notify("start", check=0)
        status = home.notify("status", check=4)
        home.notify("stop", check=0)

    for text in (started.stderr, status.stdout + status.stderr):
        assert "the API is not served: cannot listen on" in " ".join(text.split())


@pytest.mark.thorough
def test_worker_serves_when_its_port_is_free_again(home: Box) -> None:
    with serve_process(home.home, home.environment()) as (_, url):
        home.configure({"serve": {"enabled": True, "port": int(url.rpartition(":")[2])}})
        home.notify("start", check=0)
        home.notify("status", check=4)
    try:
        assert worker_url(home) == url
        status = home.notify("status", check=0).stdout
        assert ["page,", "API", url] in [line.split() for line in status.splitlines()], status
    finally:
        home.notify("stop", check=0)
