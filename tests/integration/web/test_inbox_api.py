"""The inbox of a person: `/v1/notifications`."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from syftnotify.core.text import iso, timestamp
from tests.support import BO, OWNER, Box
from tests.trees import TREES, Disk
from tests.web import KIND, PAYLOAD, Served, records, serve

LIST = "/v1/notifications"


def test_record_is_the_one_of_the_seed(served: Served, viewer: httpx.Client) -> None:
    """C01, C08"""
    (stored,) = served.store()
    (record,) = records(viewer.get(LIST))

    assert list(record) == ["id", "kind", "payload", "read_at", "created_at", "updated_at"]
    assert (record["id"], record["kind"], record["payload"], record["read_at"]) == (stored, KIND, PAYLOAD, None)
    assert uuid.UUID(record["id"]).variant == uuid.RFC_4122
    assert record["created_at"] == record["updated_at"] == iso(timestamp(record["created_at"]) or 0.0, exact=True)
    assert viewer.get(f"{LIST}/{stored}").json() == record


def test_pages_are_at_most_fifty_and_lead_to_the_end(served: Served, viewer: httpx.Client) -> None:
    """C08: the newest first; the cursor and the header Link are the same, and null on the last page."""
    ids = served.store(101)
    found: list[str] = []
    response = viewer.get(LIST)
    sizes = []
    while True:
        page = records(response)
        sizes.append(len(page))
        found += [record["id"] for record in page]
        cursor = response.json()["cursor"]
        if cursor is None:
            assert "link" not in response.headers
            break
        assert response.links["next"]["url"].endswith(str(httpx.QueryParams({"cursor": cursor})))
        response = viewer.get(response.links["next"]["url"])

    assert sizes == [50, 50, 1]
    assert found == ids[::-1]


def test_page_of_the_last_fifty_has_no_cursor(served: Served, viewer: httpx.Client) -> None:
    served.store(50)

    assert viewer.get(LIST).json()["cursor"] is None


@pytest.mark.parametrize("change", ["filter", "user", "text", "empty"])
def test_cursor_is_valid_only_where_it_comes_from(served: Served, viewer: httpx.Client, change: str) -> None:
    served.store(3)
    cursor = viewer.get(LIST, params={"limit": 1}).json()["cursor"]
    client = served.client("viewer", BO) if change == "user" else viewer
    parameters = {
        "filter": {"cursor": cursor, "unread": "true"},
        "user": {"cursor": cursor},
        "text": {"cursor": "eyJpZCI6Im5vdGlmLTIwIn0="},
        "empty": {"cursor": cursor[:-1]},
    }[change]
    response = client.get(LIST, params=parameters)

    assert response.status_code == 400
    assert "cursor" in response.json()["detail"]


def test_page_is_filtered_on_the_server(served: Served, viewer: httpx.Client) -> None:
    """C15"""
    first, second = served.store(2)
    (other,) = served.store(kind="WORKFLOW_CREATED", workflow_id="w2", workflow_name="New ETL", job_id="")
    viewer.patch(f"{LIST}/read", json={"ids": [first]})

    def ids(**parameters: Any) -> list[str]:
        return [record["id"] for record in records(viewer.get(LIST, params=parameters))]

    assert ids(unread=True) == [other, second]
    assert ids(kind="job.failed") == ids(kind="JOB_FAILED") == [second, first]
    assert ids(workflow="w2") == ids(workflow="New ETL") == ids(entity="w2") == [other]
    assert ids(since="2020-01-01T00:00:00Z") == [other, second, first]
    assert ids(since="2999-01-01T00:00:00Z") == []
    assert viewer.get(f"{LIST}/count").json() == {"total": 3, "unread": 2}


@pytest.mark.parametrize(
    "parameters",
    [
        {"kind": "nonsense"},
        {"unread": "maybe"},
        {"limit": "0"},
        {"limit": "51"},
        {"since": "yesterday"},
        {"since": "1700000000.5"},
        {"since": "2026-01-01T00:00:00"},
        {"unknown": "1"},
    ],
)
def test_wrong_filter_is_refused(viewer: httpx.Client, parameters: dict[str, str]) -> None:
    response = viewer.get(LIST, params=parameters)

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 400


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_marking_as_read_is_idempotent(served: Served, viewer: httpx.Client, method: str) -> None:
    """C09, C10: the first time counts."""
    ids = served.store(100)
    answers = [viewer.request(method, f"{LIST}/read", json={"ids": ids}).json() for _ in range(2)]
    read = {(record["read_at"], record["updated_at"]) for record in records(viewer.get(LIST))}

    assert answers == [{"marked": 100}] * 2
    assert len(read) == 1
    assert next(iter(read))[0] is not None
    assert viewer.get(f"{LIST}/count").json() == {"total": 100, "unread": 0}


@pytest.mark.parametrize("count", [0, 101])
def test_marking_needs_one_to_a_hundred_ids(viewer: httpx.Client, count: int) -> None:
    """C09"""
    response = viewer.patch(f"{LIST}/read", json={"ids": [str(uuid.uuid4()) for _ in range(count)]})

    assert response.status_code == 400


@pytest.mark.parametrize("other", ["foreign", "unknown"])
def test_marking_is_all_or_nothing(served: Served, viewer: httpx.Client, other: str) -> None:
    """C10: also a foreign one is as unknown."""
    (own,) = served.store()
    wrong = served.store(user=BO)[0] if other == "foreign" else str(uuid.uuid4())
    response = viewer.patch(f"{LIST}/read", json={"ids": [own, wrong]})

    assert response.status_code == 404
    assert response.json()["detail"].endswith(wrong)
    assert viewer.get(f"{LIST}/count").json() == {"total": 1, "unread": 1}
    assert served.client("viewer", BO).get(f"{LIST}/{own}").status_code == 404


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "POST"])
def test_notification_cannot_be_edited_or_deleted(served: Served, operator: httpx.Client, method: str) -> None:
    """C11"""
    (stored,) = served.store()

    response = operator.request(method, f"{LIST}/{stored}", json={})
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


def test_events_of_the_tree_reach_the_inboxes_of_owner_and_submitter(served: Served, viewer: httpx.Client) -> None:
    """C05, C12: with the keys of the seed; only the owner sees the error output."""
    from tests.trees import TREES, Disk

    tree = TREES["D"](Disk(served.box.root, served.box.clock.time))
    served.box.scan()
    tree.submit()
    served.box.scan()
    tree.approve()
    tree.run(code=1, stderr="Traceback (most recent call last):\nKeyError: 'weight'\n")
    served.box.scan()

    def kinds(client: httpx.Client) -> list[str]:
        return [record["kind"] for record in records(client.get(LIST))]

    owner = served.client("operator", OWNER)
    assert kinds(viewer) == ["JOB_FAILED", "JOB_APPROVED", "JOB_SUBMITTED"]
    assert kinds(owner) == ["JOB_FAILED", "JOB_SUBMITTED"]
    failed, *_ = records(owner.get(LIST, params={"kind": KIND}))
    assert failed["payload"]["job_id"] == failed["payload"]["workflow_id"] == tree.entity()
    assert failed["payload"]["workflow_name"] == "analysis"
    assert (failed["payload"]["status"], failed["payload"]["error"]) == ("FAILED", "KeyError: 'weight'")
    own, *_ = records(viewer.get(LIST, params={"kind": KIND}))
    assert "KeyError" not in str(own)
    assert not {"stderr", "code", "review", "call"} & {*failed["payload"], *own["payload"]}


@pytest.mark.parametrize("layout", TREES)
def test_folder_name_that_is_not_text_stops_nothing(box: Box, layout: str) -> None:
    """A submitter chooses the names of jobs; others are notified of theirs all the same."""
    tree = TREES[layout](Disk(box.root, box.clock.time))
    with serve(box) as served:
        box.scan()
        tree.submit("job\udcff")
        tree.submit("other")
        box.clock.advance(2)
        box.scan()

        names = {record["payload"]["workflow_name"] for record in records(served.client("viewer", OWNER).get(LIST))}
        assert "other" in names
        assert {mail.to for mail in box.mails()} >= {OWNER}
