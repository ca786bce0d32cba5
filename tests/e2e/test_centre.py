"""The centre beside a running worker, as the documents that asked for it describe its use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.fakes.mailserver import HOST
from tests.fakes.redis_server import needs_redis, run_redis
from tests.fakes.web import WebServer
from tests.support import ANA, OWNER, TIMEOUT, Box, wait_until
from tests.trees import TREES, Disk, Tree
from tests.web import worker_url

pytestmark = pytest.mark.check_only


LIST = "/v1/notifications"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "api.md"
# No scan by the interval: what arrives does so because a change woke the worker.
CONFIGURATION: dict[str, Any] = {"serve": {"enabled": True, "port": 0, "allow_private_targets": True}}


def start(box: Box, **sections: Any) -> str:
    """Start a worker that serves; returns the address of its API."""
    box.configure({**CONFIGURATION, **sections}, notify={"interval": 3600})
    box.notify("start", check=0)
    return worker_url(box)


def new_token(box: Box, role: str, user: str = ANA) -> str:
    return box.notify("token", "create", "--user", user, "--role", role, check=0).stdout.strip()


@pytest.fixture
def tree(box: Box) -> Tree:
    return TREES["D"](Disk(box.root, box.clock.time))


@pytest.fixture
def stopped(box: Box) -> Iterator[None]:
    """Stops the worker at the end."""
    yield
    box.notify("stop", check=0)


# -- the commands of the notification service, with another host, token, ids and cursor ---------------------------

LIST_COMMAND = """\
curl "https://api.chronoverse.io/v1/notifications" \\
-H "Authorization: Bearer YOUR_TOKEN"
"""
NEXT_PAGE_COMMAND = """\
curl "https://api.chronoverse.io/v1/notifications?cursor=eyJpZCI6Im5vdGlmLTIwIn0=" \\
-H "Authorization: Bearer YOUR_TOKEN"
"""
MARK_COMMAND = """\
curl -X PATCH "https://api.chronoverse.io/v1/notifications/read" \\
-H "Authorization: Bearer YOUR_TOKEN" \\
-H "Content-Type: application/json" \\
-d '{
"ids": [
"550e8400-e29b-41d4-a716-446655440000",
"660e8400-e29b-41d4-a716-446655440001"
]
}'
"""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.usefixtures("stopped")
def test_commands_of_the_notification_service(box: Box) -> None:
    """C08, C09, C15"""
    url = start(box)
    viewer, service = new_token(box, "viewer"), new_token(box, "service")

    def curl(command: str, **replaced: str) -> Any:
        for old, new in {"https://api.chronoverse.io": url, "YOUR_TOKEN": viewer, **replaced}.items():
            assert old in command
            command = command.replace(old, new)
        shown = subprocess.run(
            ["sh", "-c", f"{command.strip()} --silent --noproxy '*'"], capture_output=True, check=True
        )
        return json.loads(shown.stdout)

    with httpx.Client(headers={"Authorization": f"Bearer {service}"}, timeout=TIMEOUT, trust_env=False) as client:
        for number in range(53):
            payload = {"job_id": "job-uuid", "workflow_name": f"Health Check {number}", "error": "Timeout"}
            body = {"user_id": ANA, "kind": "JOB_FAILED", "payload": payload}
            client.post(f"{url}{LIST}", json=body).raise_for_status()
    first = curl(LIST_COMMAND)
    second = curl(NEXT_PAGE_COMMAND, **{"eyJpZCI6Im5vdGlmLTIwIn0=": first["cursor"]})
    names = [record["payload"]["workflow_name"] for page in (first, second) for record in page["notifications"]]
    assert names == [f"Health Check {number}" for number in reversed(range(53))]
    assert (len(first["notifications"]), second["cursor"]) == (50, None)
    assert list(first["notifications"][0]) == ["id", "kind", "payload", "read_at", "created_at", "updated_at"]

    ids = [record["id"] for record in second["notifications"][:2]]
    uuids = ("550e8400-e29b-41d4-a716-446655440000", "660e8400-e29b-41d4-a716-446655440001")
    assert curl(MARK_COMMAND, **dict(zip(uuids, ids, strict=True))) == {"marked": 2}
    read = curl(NEXT_PAGE_COMMAND, **{"eyJpZCI6Im5vdGlmLTIwIn0=": first["cursor"]})["notifications"]
    assert [record["read_at"] is not None for record in read] == [True, True, False]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.usefixtures("stopped")
def test_commands_of_the_documentation(box: Box) -> None:
    url = start(box)
    (block,) = re.findall(r"```sh\n(curl .*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    commands = re.findall(r"^curl .*?(?=^curl |\Z)", block, re.DOTALL | re.MULTILINE)
    variables = {"URL": url, **{role.upper(): new_token(box, role) for role in ("viewer", "operator", "service")}}
    environment = {**os.environ, **variables}
    assert len(commands) == 8

    for command in commands:
        quiet = f"{command.strip()} --silent --fail-with-body --noproxy '*'"
        done = subprocess.run(["sh", "-c", quiet], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, command + done.stdout


@needs_redis
@pytest.mark.usefixtures("stopped")
def test_created_notification_is_published_at_once(box: Box, tmp_path: Path) -> None:
    """C12, C13: the worker is woken, although its next scan is in an hour."""
    with run_redis(tmp_path) as port:
        channel = redis.Redis(HOST, port, decode_responses=True).pubsub()  # type: ignore[no-untyped-call] # no types
        channel.subscribe(f"notifications:{ANA}")
        live = {"type": "redis", "url": f"redis://{HOST}:{port}"}
        url = start(box, transports={"box": {"type": "maildir"}, "live": live})
        headers = {"Authorization": f"Bearer {new_token(box, 'service')}"}
        body = {"user_id": ANA, "kind": "WORKFLOW_CREATED", "payload": {"workflow_name": "Daily ETL"}}
        created = httpx.post(f"{url}{LIST}", json=body, headers=headers, timeout=TIMEOUT, trust_env=False).json()

        def next_message() -> Any:
            found = channel.get_message(timeout=1)
            return found if found and found["type"] == "message" else None

        message = json.loads(wait_until(next_message, what="the message")["data"])
    assert message == {key: created[key] for key in ("id", "kind", "payload", "created_at")}


# -- the acceptance criteria of alerts about runs -------------------------------------------------------------------


class Alerts:
    """The operations on the alert rules of jobs, of an operator."""

    def __init__(self, box: Box, url: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {new_token(box, 'operator', OWNER)}"}

    def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return httpx.request(
            method, f"{self._url}{path}", json=body, headers=self._headers, timeout=TIMEOUT, trust_env=False
        )

    def add(self, job: str, alert_type: str, target: str, **conditions: bool) -> str:
        body = {"alert_type": alert_type, "target": target, "on_failure": True, "on_timeout": True, **conditions}
        added = self.request("POST", f"/jobs/{job}/alerts", body)
        assert added.status_code == 201, added.text
        return str(added.json()["id"])


@pytest.mark.usefixtures("stopped")
def test_failed_job_posts_to_the_webhook(box: Box, tree: Tree, hook: WebServer) -> None:
    """On job failure, configured webhook receives a POST: run id, job name, status, exit code."""
    tree.grant(ANA)
    alerts = Alerts(box, start(box))
    alerts.add("analysis", "webhook", hook.url)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    (request,) = wait_until(lambda: list(hook.requests), what="the alert")

    assert request.line.startswith("POST ")
    assert {key: request.json[key] for key in ("job_name", "status", "exit_code")} == {
        "job_name": "analysis",
        "status": "failed",
        "exit_code": 3,
    }
    assert request.json["run_id"]


@pytest.mark.usefixtures("stopped")
def test_job_that_timed_out_mails_the_address(box: Box) -> None:
    """On job timeout, configured email is sent."""
    alerts = Alerts(box, start(box))
    alerts.add("nightly", "email", "ops@lab.example", on_failure=False)
    alerts.add("nightly", "email", "other@lab.example", on_timeout=False)
    event = {"kind": "job_timeout", "entity": "run/7", "payload": {"name": "nightly"}}
    assert alerts.request("POST", "/v1/events", event).status_code == 202
    wait_until(lambda: [mail for mail in box.mails() if mail.to == "ops@lab.example"], what="the mail")

    assert not [mail for mail in box.mails() if mail.to == "other@lab.example"]


@pytest.mark.usefixtures("stopped")
def test_alert_that_fails_changes_nothing_in_the_tree(box: Box, tree: Tree, hook: WebServer) -> None:
    """Alert dispatch failure does NOT affect run status."""
    tree.grant(ANA)
    url, path = hook.url, Path(box.root)
    assert hook.server is not None
    hook.server.stop()
    alerts = Alerts(box, start(box))
    alerts.add("analysis", "webhook", url)
    tree.submit()
    tree.approve()
    tree.run(code=3)
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}

    def failed() -> list[Any]:
        found = alerts.request("GET", "/v1/deliveries?kind=job_failed").json()["deliveries"]
        return [each for each in found if each["route"].startswith("alert ") and each["attempts"]]

    wait_until(failed, what="an attempt")
    (job,) = alerts.request("GET", "/v1/jobs").json()["jobs"]
    assert job["last_event"] == "JOB_FAILED"
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before
    wait_until(lambda: {mail.to for mail in box.mails() if mail.event == "job_failed"} == {OWNER, ANA}, what="mails")


@pytest.mark.usefixtures("stopped")
def test_alert_rules_are_managed_while_the_worker_runs(box: Box, tree: Tree, hook: WebServer) -> None:
    """Alert configuration is manageable via API: GET, POST and DELETE; a deleted rule alerts nobody."""
    tree.grant(ANA)
    alerts = Alerts(box, start(box))
    rule = alerts.add("analysis", "webhook", hook.url)
    assert [each["id"] for each in alerts.request("GET", "/jobs/analysis/alerts").json()] == [rule]
    assert alerts.request("DELETE", f"/alerts/{rule}").status_code == 204
    assert alerts.request("GET", "/jobs/analysis/alerts").json() == []
    tree.submit()
    tree.approve()
    tree.run(code=3)
    wait_until(lambda: [mail for mail in box.mails() if mail.event == "job_failed"], what="the mail")

    assert hook.requests == []
