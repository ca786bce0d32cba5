"""Who may do what: tokens, roles, limits."""

from __future__ import annotations

import logging
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.server_settings import load_with_server
from syftnotify.web import limits
from syftnotify.web.access import RateLimits
from syftnotify.web.server import listen
from tests.support import ANA, BO, OWNER, TIMEOUT, Box
from tests.web import Served, records, serve

pytestmark = pytest.mark.check_only


LIST = "/v1/notifications"
# What each role may use, by method and path.
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json")}
VIEWER = {
    *(("GET", path) for path in (LIST, f"{LIST}/count", f"{LIST}/{{notification_id}}", f"{LIST}/stream")),
    *((method, f"{LIST}/read") for method in ("PATCH", "PUT")),
    *(("GET", path) for path in ("/v1/jobs", "/v1/jobs/{job_id}")),
}
SERVICE = {("POST", LIST), ("POST", "/v1/events")}
EXAMPLES = {
    "{notification_id}": "550e8400-e29b-41d4-a716-446655440000",
    "{job_id}": "nightly",
    "{alert_id}": "3f2a9c01b7de",
    "{delivery_id}": "3f2a9c01b7de",
    "{name}": "box",
}


def operations(client: httpx.Client) -> Iterator[tuple[str, str]]:
    """The method and path of every operation in the OpenAPI description."""
    for path, found in client.get("/openapi.json").json()["paths"].items():
        yield from ((method.upper(), path) for method in found)


def call(client: httpx.Client, method: str, path: str) -> int:
    """The status of a request that has no valid body; a stream is not read."""
    for name, example in EXAMPLES.items():
        path = path.replace(name, example)
    with client.stream(method, path) as response:
        return response.status_code


@pytest.mark.parametrize("role", ["", "viewer", "operator", "service"])
def test_role_permits_its_operations_only(served: Served, role: str) -> None:
    client = served.client(role)
    found = list(operations(client))
    permitted = OPEN | {"viewer": VIEWER, "service": SERVICE, "operator": {*found}}.get(role, set())

    assert permitted - OPEN <= {*found}
    refused = {operation for operation in found if call(client, *operation) in {401, 403}}
    assert refused == {*found} - permitted


def test_request_without_a_token_says_how_to_authenticate(served: Served) -> None:
    response = served.client().get(LIST)

    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="syftnotify"')


@pytest.mark.parametrize(
    "header",
    ["Bearer x", "Bearer syn_wrong", "Basic YTpi", "Bearer", "", "Bearer syn_\x80", f"Bearer syn_{'a' * 5000}"],
)
def test_wrong_token_is_refused(served: Served, header: str) -> None:
    response = served.client().get(LIST, headers={b"Authorization": header.encode("latin-1")})

    assert response.status_code == 401


def test_expired_token_is_refused(served: Served) -> None:
    secret = served.token("viewer", expires_at=time.time() - 1)

    assert served.client().get(LIST, headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_viewer_sees_own_jobs_only(served: Served, viewer: httpx.Client, operator: httpx.Client) -> None:
    served.store(job_id="run/ana")
    served.store(user=BO, job_id="run/bo")

    def jobs(client: httpx.Client) -> list[str]:
        return [job["entity"] for job in client.get("/v1/jobs").json()["jobs"]]

    assert jobs(viewer) == ["run/ana"]
    assert jobs(operator) == ["run/bo", "run/ana"]
    assert viewer.get("/v1/jobs/run%2Fana").status_code == 200
    own, foreign = (job["id"] for job in operator.get("/v1/jobs").json()["jobs"][::-1])
    assert viewer.get(f"/v1/jobs/{own}").json()["events"][0]["deliveries"][0]["recipient"] == ANA
    assert viewer.get(f"/v1/jobs/{foreign}").status_code == 404


def test_too_many_requests_of_a_token_must_wait(box: Box) -> None:
    with serve(box, limits=RateLimits(requests=3)) as served:
        client = served.client("viewer")
        statuses = [client.get(LIST).status_code for _ in range(3)]
        response = client.get(LIST)

        assert statuses == [200, 200, 200]
        assert (response.status_code, response.headers["retry-after"]) == (429, "60")
        assert served.client("viewer").get(LIST).status_code == 200


def test_too_many_failed_attempts_must_wait(box: Box) -> None:
    with serve(box, limits=RateLimits(failures=3)) as served:
        statuses = [served.client().get(LIST).status_code for _ in range(4)]

        assert statuses == [401, 401, 401, 429]
        assert served.client("viewer").get(LIST).status_code == 200, "a valid token is not affected"


def test_large_body_is_refused(service: httpx.Client) -> None:
    """Also one whose size is not announced."""
    content = b"a" * (limits.MAX_BODY + 1)

    assert service.post(LIST, content=content).status_code == 413
    assert service.post(LIST, content=iter([content])).status_code == 413


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", id="header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal", id="second request"),
        pytest.param(b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", id="body"),
    ],
)
def test_slow_request_is_ended(box: Box, start: bytes) -> None:
    with (
        serve(box, request_seconds=0.5) as served,
        socket.create_connection(("127.0.0.1", served.server.port)) as connection,
    ):
        connection.settimeout(TIMEOUT)
        connection.sendall(start)
        answer = b""
        while received := connection.recv(1000):
            answer += received

    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 200"))


@pytest.mark.thorough
def test_no_get_request_changes_anything(served: Served, operator: httpx.Client) -> None:
    """Neither the database nor the files of the home, also where a page has a cursor."""
    served.store(51)
    served.store(51, user=OWNER)
    viewers = [served.client("viewer"), served.client("viewer", OWNER)]
    database = sqlite3.connect(served.box.home.outbox, isolation_level=None)

    def files() -> dict[Path, float]:
        found = [path for path in served.box.home.root.rglob("*") if not path.name.startswith("outbox.db-")]
        return {path: path.stat().st_mtime_ns for path in found}

    before = database.execute("PRAGMA data_version").fetchone(), files()
    for method, path in operations(operator):
        if method == "GET":
            for client in (operator, *viewers):
                assert call(client, method, path) < 500
    assert viewers[0].get(LIST).json()["cursor"] is not None
    assert (database.execute("PRAGMA data_version").fetchone(), files()) == before
    served.store()
    assert database.execute("PRAGMA data_version").fetchone() != before[0]
    database.close()


def test_tokens_are_never_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = served.token("viewer")
    headers = {"Authorization": f"Bearer {secret}"}
    client = served.client()
    for path in (LIST, "/nothing", f"{LIST}/{secret}"):
        client.get(path, headers=headers)

    own = [record.getMessage() for record in caplog.records if record.name.startswith(("syftnotify", "uvicorn"))]
    assert not any(secret in message for message in own)
    assert secret.encode() not in served.box.home.outbox.read_bytes()


def test_responses_forbid_sniffing_caching_and_embedding(viewer: httpx.Client) -> None:
    for path in (LIST, "/nothing", "/openapi.json"):
        headers = viewer.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/v1/../healthz/%2e%2e/etc/passwd", "//etc/passwd", "/v1/notifications/..%2f..%2fsecret.key"]
)
def test_paths_lead_to_no_file(operator: httpx.Client, path: str) -> None:
    response = operator.get(path)

    assert response.status_code in {400, 404}
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("settings", [{}, {"behind_proxy": True}])
def test_other_address_than_loopback_needs_encryption(box: Box, settings: dict[str, Any]) -> None:
    box.configure({"serve": {"host": "0.0.0.0", "port": 0, **settings}})
    if settings:
        listen(load_with_server(box.home, {})).close()
    else:
        with pytest.raises(ConfigError, match="unencrypted"):
            listen(load_with_server(box.home, {}))


def test_server_with_a_certificate_speaks_tls(box: Box) -> None:
    import trustme

    authority = trustme.CA()
    certificate = box.folder / "cert.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serve(box, certfile=str(certificate)) as served:
        url = served.server.url
        response = httpx.get(f"{url}/healthz", verify=context, timeout=TIMEOUT, trust_env=False)

    assert (url[:8], response.status_code) == ("https://", 200)


def test_no_text_of_a_request_becomes_a_header(viewer: httpx.Client, served: Served) -> None:
    """Header injection: the filters of a page are in its `Link`."""
    hostile = "x\r\nSet-Cookie: a=1\r\n\r\n<script>"
    served.store(51, job_id=hostile)
    response = viewer.get(LIST, params={"entity": hostile})

    assert len(records(response)) == 50
    assert "set-cookie" not in response.headers
    assert response.headers["link"].count("\n") == 0
    assert records(viewer.get(response.links["next"]["url"]))


def test_ids_of_other_persons_are_as_unknown(served: Served) -> None:
    """IDOR: notifications, jobs, and everything that only operators see."""
    (foreign,) = served.store(user=BO, job_id="job-of-bo")
    viewer, other = served.client("viewer"), served.client("viewer", BO)

    assert other.get(f"{LIST}/{foreign}").status_code == other.get("/v1/jobs/job-of-bo").status_code == 200
    assert viewer.get(f"{LIST}/{foreign}").status_code == 404
    assert viewer.get("/v1/jobs/job-of-bo").status_code == 404
    assert viewer.patch(f"{LIST}/read", json={"ids": [foreign]}).status_code == 404
    for path in ("/jobs/job-of-bo/alerts", "/v1/deliveries", "/v1/deliveries/3f2a9c01b7de", "/v1/worklist"):
        assert viewer.get(path).status_code == 403
    assert viewer.delete("/alerts/3f2a9c01b7de").status_code == 403


@pytest.mark.parametrize("files", [{"certfile": "missing.pem"}, {"certfile": "broken.pem"}, {"keyfile": "broken.pem"}])
def test_wrong_certificate_is_named_before_anything_is_served(box: Box, files: dict[str, str]) -> None:
    box.configure({"serve": {"port": 0, **files}})
    (box.home.root / "broken.pem").write_text("nothing")

    with pytest.raises(
        ConfigError, match=r"serve\.(certfile: .*\.pem cannot be used|keyfile: there is no certificate)"
    ):
        listen(load_with_server(box.home, {}))


def test_unexpected_error_is_a_problem_and_is_logged(
    served: Served, operator: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Here a number in the database that no part of the program writes."""
    served.store()
    with served.outbox._database.writing() as connection:
        connection.exec_driver_sql("UPDATE events SET noticed_at = 1e300")
    response = operator.get("/v1/jobs")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "a request failed" in caplog.text
    assert operator.get("/healthz").status_code == 200
