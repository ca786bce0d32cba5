"""What operators see and do: alert rules, deliveries, transports."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from syftnotify.core.kinds import EventKind
from syftnotify.core.models import AlertRule, Event
from tests.fakes.web import respond, serve_web
from tests.outbox_helpers import enqueue, reject, submitted
from tests.support import ANA, OWNER, Box
from tests.trees import TREES, Disk
from tests.web import Served, serve

pytestmark = pytest.mark.check_only


RULE = {"alert_type": "email", "target": ANA}


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_alert_rules_are_managed_as_in_the_seed(operator: httpx.Client, prefix: str) -> None:
    """A08: the job need not exist yet; the conditions are true by default (A01)."""
    created = operator.post(f"{prefix}/jobs/nightly-sync/alerts", json=RULE)
    rule = created.json()

    assert created.status_code == 201
    assert {key: rule[key] for key in ("job_id", "alert_type", "target", "on_failure", "on_timeout")} == {
        "job_id": "nightly-sync",
        **RULE,
        "on_failure": True,
        "on_timeout": True,
    }
    assert operator.get(f"{prefix}/jobs/nightly-sync/alerts").json() == [rule]
    assert operator.get(f"{prefix}/jobs/other/alerts").json() == []
    assert operator.delete(f"{prefix}/alerts/{rule['id']}").status_code == 204
    assert operator.delete(f"{prefix}/alerts/{rule['id']}").status_code == 404
    assert operator.get(f"{prefix}/jobs/nightly-sync/alerts").json() == []


def test_alert_rule_by_the_id_of_a_job_applies_to_it(served: Served, operator: httpx.Client) -> None:
    """A13: entities contain slashes, so the API returns ids for URLs."""
    tree = TREES["D"](Disk(served.box.root, served.box.clock.time))
    served.box.scan()
    tree.submit()
    served.box.scan()
    (job,) = operator.get("/v1/jobs").json()["jobs"]
    operator.post(f"/jobs/{job['id']}/alerts", json={**RULE, "target": "ops@lab.example", "on_timeout": False})
    (rule,) = operator.get(f"/jobs/{job['id']}/alerts").json()

    assert job["entity"] == rule["job_id"] == tree.entity()
    tree.approve()
    tree.run(code=1)
    served.box.scan()
    assert "ops@lab.example" in {mail.to for mail in served.box.mails() if mail.event == "job_failed"}


@pytest.mark.parametrize(
    "change",
    [
        {"alert_type": "sms"},
        {"target": ""},
        {"target": "nobody"},
        {"alert_type": "webhook", "target": "nothing"},
        {"alert_type": "webhook", "target": "ftp://x.example/"},
        {"on_failure": False, "on_timeout": False},
        {"job_id": "x"},
        {"on_failure": 0},
    ],
)
def test_wrong_alert_rule_is_refused(served: Served, operator: httpx.Client, change: dict[str, Any]) -> None:
    assert operator.post("/jobs/x/alerts", json={**RULE, **change}).status_code == 400
    assert served.outbox.alert_rules.all() == []


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/hook",
    ],
)
def test_webhook_of_a_private_network_is_refused(operator: httpx.Client, target: str) -> None:
    response = operator.post("/jobs/x/alerts", json={"alert_type": "webhook", "target": target})

    assert response.status_code == 400
    assert "/latest" not in response.text


@pytest.mark.thorough
def test_webhook_whose_name_leads_into_a_private_network_later_receives_nothing(served: Served) -> None:
    """DNS rebinding: the address of each connection is checked, not only that at the time of the rule."""
    with serve_web() as hook:
        rule = AlertRule("r1", hook.url, job="*", public_only=True)
        served.outbox.alert_rules.add(rule)
        tree = TREES["D"](Disk(served.box.root, served.box.clock.time))
        served.box.scan()
        tree.submit()
        tree.approve()
        tree.run(code=1)
        served.box.scan()

        assert hook.requests == []
    (record,) = served.outbox.history.notifications(transport=rule.endpoint)
    assert "private network" in record.reason


def test_redirect_leads_nowhere(box: Box) -> None:
    """SSRF: the answer of a permitted host cannot choose another one."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    with serve_web() as inner, serve_web(respond(302, Location=inner.url)) as hook:
        with serve(box, allow_private_targets=True) as served:
            rule = {"alert_type": "webhook", "target": hook.url}
            assert served.client("operator").post("/jobs/analysis/alerts", json=rule).status_code == 201
            box.scan()
            tree.submit()
            tree.approve()
            tree.run(code=1)
            box.scan()

        assert len(hook.requests) == 1
        assert inner.requests == []


def test_private_targets_can_be_permitted(box: Box) -> None:
    with serve_web() as hook, serve(box, allow_private_targets=True) as served:
        created = served.client("operator").post(
            "/jobs/analysis/alerts", json={"alert_type": "webhook", "target": hook.url}
        )
        assert created.status_code == 201
        assert hook.url.rpartition("/")[2] not in created.json()["target"]


def test_deliveries_have_their_attempts_and_can_be_sent_again(served: Served, operator: httpx.Client) -> None:
    event = submitted("a")
    enqueue(served.outbox, event, to=ANA)
    (claimed,) = served.outbox.queue.claim("box", 200.0, worker_id="me")[0]
    reject(served.outbox, [claimed])
    (delivery,) = operator.get("/v1/deliveries", params={"state": "dead"}).json()["deliveries"]
    detail = operator.get(f"/v1/deliveries/{delivery['id']}").json()

    assert (delivery["recipient"], delivery["attempts"], delivery["kind"]) == (ANA, 1, "JOB_SUBMITTED")
    assert detail["delivery"] == delivery
    assert [attempt["outcome"] for attempt in detail["attempts"]] == ["permanent"]
    assert operator.get("/v1/worklist").json() == {"deliveries": [delivery], "cursor": None, "warning": ""}
    assert operator.post("/v1/worklist/resend", json={"ids": ["0" * 32]}).status_code == 404
    assert operator.post("/v1/worklist/resend", json={"ids": [delivery["id"]]}).json() == {"queued": 1}
    assert operator.post("/v1/worklist/resend", json={"ids": [delivery["id"]]}).status_code == 409
    assert operator.get("/v1/worklist").json()["deliveries"] == []
    assert operator.get(f"/v1/deliveries/{'0' * 32}").status_code == 404


def test_pages_of_deliveries_lead_to_the_end(served: Served, operator: httpx.Client) -> None:
    for number in range(7):
        enqueue(served.outbox, submitted(f"job-{number}"), to=ANA)
    found: list[str] = []
    cursor = ""
    while True:
        page = operator.get("/v1/deliveries", params={"limit": 3, "cursor": cursor}).json()
        found += [delivery["entity"] for delivery in page["deliveries"]]
        cursor = page["cursor"]
        if cursor is None:
            break

    assert found == [f"job/job-{number}" for number in range(6, -1, -1)]


def test_transports_are_shown_without_secrets_and_tested(box: Box) -> None:
    """N02, N04"""
    transports = {
        "box": {"type": "maildir"},
        "hook": {"type": "webhook", "url": "https://hooks.example/secret-path", "headers": {"X-Token": "secret-token"}},
    }
    with serve(box, config={"transports": transports}) as served:
        operator = served.client("operator")
        answer = operator.get("/v1/transports")
        sent = operator.post("/v1/transports/box/test", json={"to": ANA}).json()
        stored = operator.post("/v1/transports/inbox/test", json={"to": ANA}).json()

        assert "secret-" not in answer.text
        assert [(each["name"], each["type"]) for each in answer.json()] == [("box", "maildir"), ("hook", "webhook")]
        assert sent["sent"] is True
        assert [(mail.to, mail.event) for mail in box.mails()] == [(ANA, "test")]
        assert stored == {"sent": True, "detail": f"stored in the inbox of {ANA}"}
        assert operator.post("/v1/transports/nothing/test", json={}).status_code == 404
        assert [route["name"] for route in operator.get("/v1/routes").json()] == [
            *("built-in: owner, inbox", "built-in: submitter, inbox"),
            *("built-in: owner", "built-in: submitter", "built-in: operator"),
        ]


def test_timeline_of_a_job_says_who_was_notified_and_why(served: Served, operator: httpx.Client) -> None:
    served.outbox.enqueue([Event(EventKind.JOB_HELD, "job/x", "T1", payload={"name": "x"})], [], 100.0)
    enqueue(served.outbox, submitted("x", "T2"), to=OWNER)
    timeline = operator.get("/v1/jobs/x").json()

    assert [(event["kind"], [each["recipient"] for each in event["deliveries"]]) for event in timeline["events"]] == [
        ("JOB_HELD", []),
        ("JOB_SUBMITTED", [OWNER]),
    ]
    assert operator.get("/v1/jobs/unknown").status_code == 404


def test_pages_of_the_worklist_lead_to_the_end(served: Served, operator: httpx.Client) -> None:
    for number in range(7):
        enqueue(served.outbox, submitted(f"job-{number}"), to=ANA)
        (claimed,) = served.outbox.queue.claim("box", 200.0, worker_id="me")[0]
        reject(served.outbox, [claimed])
    found, cursor = list[str](), ""
    while cursor is not None:
        page = operator.get("/v1/worklist", params={"limit": 3, "cursor": cursor}).json()
        found += [delivery["id"] for delivery in page["deliveries"]]
        cursor = page["cursor"]

    assert len(found) == len(set(found)) == 7


def test_rules_of_a_job_are_found_by_each_of_its_names(served: Served, operator: httpx.Client) -> None:
    """Its name, its entity with slashes, and the id for URLs; patterns of `notify alerts add` apply, too."""
    tree = TREES["D"](Disk(served.box.root, served.box.clock.time))
    served.box.scan()
    tree.submit()
    served.box.scan()
    (job,) = operator.get("/v1/jobs").json()["jobs"]
    names = [job["name"], job["id"], job["entity"]]
    # The id and the entity are the same job, for which an identical rule is refused.
    bodies = [{**RULE, "on_timeout": number == 1} for number, _ in enumerate(names)]
    rules = {
        operator.post(f"/jobs/{name}/alerts", json=body).json()["id"] for name, body in zip(names, bodies, strict=True)
    }
    assert operator.post(f"/jobs/{names[0]}/alerts", json=bodies[0]).status_code == 409
    served.outbox.alert_rules.add(AlertRule("p1", "ops@lab.example", job="ana*"))

    for name in names:
        assert {rule["id"] for rule in operator.get(f"/jobs/{name}/alerts").json()} == rules | {"p1"}
        assert operator.get(f"/v1/jobs/{name}").status_code == 200


def test_name_in_a_path_is_no_pattern(served: Served, operator: httpx.Client) -> None:
    created = operator.post("/jobs/run[1]*/alerts", json=RULE).json()

    assert created["job_id"] == "run[1]*"
    assert [rule["id"] for rule in operator.get("/jobs/run[1]*/alerts").json()] == [created["id"]]
    assert operator.get("/jobs/run1/alerts").json() == []


def test_silence_is_added_listed_and_ended(served: Served, operator: httpx.Client) -> None:
    created = operator.post("/v1/silences", json={"job": ["noisy-*"], "ends_at": "2126-03-03T18:00:00Z", "reason": "x"})
    silence = created.json()

    assert created.status_code == 201
    assert (silence["job"], silence["state"], silence["ends_at"]) == (["noisy-*"], "active", "2126-03-03T18:00:00.000Z")
    assert operator.get("/v1/silences").json() == [silence]
    enqueue(served.outbox, submitted("noisy-1"), skipped=f"silence {silence['id']}: x")
    detail = operator.get(f"/v1/silences/{silence['id']}").json()
    assert [each["entity"] for each in detail["suppressed"]] == ["job/noisy-1"]
    assert detail["silence"]["suppressed"] == 1
    assert operator.delete(f"/v1/silences/{silence['id']}").json()["state"] == "expired"
    assert operator.delete(f"/v1/silences/{silence['id']}").status_code == 409
    assert operator.get("/v1/silences").json() == []
    assert [each["state"] for each in operator.get("/v1/silences?expired=true").json()] == ["expired"]
    assert operator.get("/v1/silences/00000000").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"job": ["a["]}, {"job": ["a"], "ends_at": "2000-01-01T00:00:00Z"}, {"job": ["a"], "events": ["x"]}]
)
def test_wrong_silence_is_refused_with_a_reason(operator: httpx.Client, body: dict[str, Any]) -> None:
    response = operator.post("/v1/silences", json=body)

    assert response.status_code == 400
    assert response.json()["detail"]
    assert "--" not in response.json()["detail"]
