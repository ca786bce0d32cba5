"""Notifications and events that other programs create."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import ANA, OWNER, wait_until
from tests.web import KIND, PAYLOAD, Served, records

pytestmark = pytest.mark.check_only


CREATE, EVENTS = "/v1/notifications", "/v1/events"
BODY = {"user_id": ANA, "kind": KIND, "payload": PAYLOAD}
EVENT = {"kind": "job_failed", "entity": "run/1", "payload": {"name": "nightly"}}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/lab",
    "type": "example.lab.job.failed",
    "subject": "run/2",
    "data": {"name": "nightly"},
}


def test_notification_is_in_the_inbox_at_once(viewer: httpx.Client, service: httpx.Client) -> None:
    """C06"""
    created = service.post(CREATE, json=BODY)

    assert created.status_code == 201
    assert records(viewer.get(CREATE)) == [created.json()]
    assert created.json()["payload"] == PAYLOAD


@pytest.mark.parametrize("payload", ["text", None, ["a"], 1, True])
def test_payload_must_be_an_object(viewer: httpx.Client, service: httpx.Client, payload: object) -> None:
    """C07: and nothing is stored."""
    assert service.post(CREATE, json={**BODY, "payload": payload}).status_code == 400
    assert records(viewer.get(CREATE)) == []


@pytest.mark.parametrize(
    "change", [{"kind": "nonsense"}, {"kind": "digest"}, {"user_id": ""}, {"user_id": "a b"}, {"more": 1}, {"kind": 1}]
)
def test_wrong_notification_is_refused(service: httpx.Client, change: dict[str, Any]) -> None:
    assert service.post(CREATE, json={**BODY, **change}).status_code == 400


@pytest.mark.parametrize(
    "kind",
    [
        "WORKFLOW_CREATED",
        "WORKFLOW_UPDATED",
        "WORKFLOW_BUILD_COMPLETED",
        "WORKFLOW_BUILD_FAILED",
        "WORKFLOW_TERMINATED",
        "JOB_STARTED",
        "JOB_COMPLETED",
        "JOB_FAILED",
        "JOB_CANCELED",
    ],
)
def test_kinds_of_the_seed_keep_their_spelling(service: httpx.Client, kind: str) -> None:
    """C02"""
    assert service.post(CREATE, json={**BODY, "kind": kind}).json()["kind"] == kind


def test_repeated_request_with_a_key_creates_one(viewer: httpx.Client, service: httpx.Client) -> None:
    """A repeat gets the same answer; another body with the key is refused."""
    headers = {"Idempotency-Key": "k-1"}
    first, second = (service.post(CREATE, json=BODY, headers=headers) for _ in range(2))
    other = service.post(CREATE, json={**BODY, "payload": {}}, headers=headers)

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert other.status_code == 422
    assert len(records(viewer.get(CREATE))) == 1


def test_key_of_another_token_is_another_key(served: Served, viewer: httpx.Client) -> None:
    for _ in range(2):
        served.client("service").post(CREATE, json=BODY, headers={"Idempotency-Key": "k-1"})

    assert len(records(viewer.get(CREATE))) == 2


@pytest.mark.thorough
def test_hundred_requests_with_one_key_at_once_create_one(served: Served, viewer: httpx.Client) -> None:
    client = served.client("service")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post(CREATE, json=BODY, headers={"Idempotency-Key": "k"}), range(100)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(records(viewer.get(CREATE))) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "entity"),
    [(EVENT, "application/json", "run/1"), (CLOUD_EVENT, "application/cloudevents+json", "run/2")],
)
def test_event_is_delivered_by_the_worker(
    served: Served, service: httpx.Client, body: dict[str, Any], content_type: str, entity: str
) -> None:
    """In the native format and as CloudEvents."""
    served.box.scan()
    body = body | ({"notify_emails": [OWNER]} if body is EVENT else {})
    answer = service.post(EVENTS, json=body, headers={"Content-Type": content_type})
    served.box.scan()

    assert answer.status_code == 202
    assert entity in answer.json()["key"]
    (event,) = served.outbox.history.events(entity)
    assert (event.key, event.kind) == (answer.json()["key"], "job_failed")
    (mail,) = served.box.mails()
    assert (mail.event, mail.to) == ("job_failed", OWNER)


def test_repeated_cloud_event_is_one_event(served: Served, service: httpx.Client) -> None:
    """Its source and id identify it."""
    for _ in range(2):
        assert service.post(EVENTS, json=CLOUD_EVENT).status_code == 202
    served.box.scan()

    assert len(served.outbox.history.events("run/2")) == 1


def test_repeated_event_with_a_key_is_one_event(served: Served, service: httpx.Client) -> None:
    for _ in range(2):
        assert service.post(EVENTS, json=EVENT, headers={"Idempotency-Key": "k"}).status_code == 202
    served.box.scan()

    assert len(served.outbox.history.events("run/1")) == 1


@pytest.mark.parametrize(
    "change",
    [{"kind": "system_alert"}, {"kind": "x"}, {"entity": ""}, {"tags": "a"}, {"payload": []}, {"specversion": "2"}],
)
def test_wrong_event_is_refused(service: httpx.Client, change: dict[str, Any]) -> None:
    assert service.post(EVENTS, json={**EVENT, **change}).status_code == 400


@pytest.mark.parametrize(
    ("payload", "stored"),
    [({"a": "\ud800"}, {"a": "?"}), ({"n": 2**70}, {"n": str(2**70)})],
)
def test_what_cannot_be_stored_is_replaced(
    viewer: httpx.Client, service: httpx.Client, payload: dict[str, Any], stored: dict[str, Any]
) -> None:
    """Otherwise no page with it could be sent."""
    content = json.dumps({**BODY, "payload": payload})
    created = service.post(CREATE, content=content, headers={"Content-Type": "application/json"})

    assert created.status_code == 201
    assert records(viewer.get(CREATE))[0]["payload"] == stored


@pytest.mark.parametrize("path", [CREATE, EVENTS])
@pytest.mark.parametrize("depth", [65, 300, 900])
def test_deeply_nested_payload_is_refused(service: httpx.Client, path: str, depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = {"a": nested}
    refused = service.post(path, json={**(BODY if path == CREATE else EVENT), "payload": nested})

    assert refused.status_code == 400
    assert "64 levels" in refused.json()["detail"]


def test_large_payload_is_refused(service: httpx.Client) -> None:
    refused = service.post(CREATE, json={**BODY, "payload": {"text": "x" * 200_000}})

    assert refused.status_code == 400
    assert "128 KiB" in refused.json()["detail"]


def test_refused_request_does_not_use_up_its_key(service: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k-1"}

    assert service.post(CREATE, json={**BODY, "kind": "digest"}, headers=headers).status_code == 400
    assert service.post(CREATE, json=BODY, headers=headers).status_code == 201


def test_request_with_a_key_in_progress_is_a_conflict(served: Served, service: httpx.Client) -> None:
    """The first one waits for a lock of the database."""
    headers = {"Idempotency-Key": "k-1"}
    in_progress = served.server._idempotency._in_progress
    with ThreadPoolExecutor(1) as pool:
        with served.outbox._database.writing():
            first = pool.submit(service.post, CREATE, json=BODY, headers=headers)
            wait_until(lambda: in_progress or first.done(), what="the first request")
            assert in_progress, first.result().text
            second = service.post(CREATE, json=BODY, headers=headers)
        assert second.status_code == 409
        assert first.result().status_code == 201


def test_errors_of_an_event_are_those_of_its_format(service: httpx.Client) -> None:
    native = service.post(EVENTS, json={**EVENT, "tag": "a"}).json()["detail"]
    cloud = service.post(EVENTS, json={**CLOUD_EVENT, "data": "text"}).json()["detail"]

    assert native == "body.native.tag: Extra inputs are not permitted"
    assert cloud.startswith("body.cloud_event.data: ")
    assert service.post(EVENTS, json={**CLOUD_EVENT, "data": None, "subject": None}).status_code == 202


def test_other_content_type_is_named(service: httpx.Client) -> None:
    refused = service.post(CREATE, content=json.dumps(BODY), headers={"Content-Type": "text/plain"})

    assert refused.status_code == 415
    assert "Content-Type: application/json" in refused.json()["detail"]


def test_record_of_an_event_names_what_it_is_about(served: Served, viewer: httpx.Client, service: httpx.Client) -> None:
    service.post(EVENTS, json={**EVENT, "user": ANA, "payload": {"error": "disk full"}})
    served.box.scan()

    assert records(viewer.get(CREATE))[0]["payload"] == {"job_id": "run/1", "error": "disk full"}
