"""What the parts of the page show."""

from __future__ import annotations

import time

import httpx
import pytest

from syftnotify.core.errors import Failure
from syftnotify.core.models import NotificationState
from syftnotify.core.outbox import AttemptOutcome
from syftnotify.services.silences import SilenceOptions, add_silence
from tests.outbox_helpers import claim_next, enqueue, enqueue_dead, submitted
from tests.pages import CODE, step
from tests.support import OWNER, Box
from tests.trees import TREES, Disk
from tests.web import Served, serve, submit

WEBHOOK = {"type": "webhook", "url": "https://hooks.example/x"}


def section(client: httpx.Client, path: str, begin: str, end: str) -> str:
    """The part of a page between two texts."""
    return client.get(f"/ui/{path}").text.partition(begin)[2].partition(end)[0]


def test_transports_have_the_routes_that_use_them(box: Box) -> None:
    """Also those that name a transport among their recipients."""
    config = {
        "transports": {"box": {"type": "maildir"}, "oncall": {**WEBHOOK}, "spare": {**WEBHOOK}},
        "extra_routes": [
            {"events": ["job_failed"], "to": ["oncall"], "continue": True},
            {"events": ["job_failed"], "to": [OWNER], "continue": True},
        ],
    }
    with serve(box, config=config) as served:
        client = served.visitor()
        used = {name: section(client, "transports", f'id="{name}"', "</dl>") for name in config["transports"]}
        assert "extra_routes[0]" in used["oncall"]
        assert "extra_routes[1]" not in used["oncall"]
        assert "extra_routes[1]" in used["box"]
        assert "extra_routes[0]" not in used["box"]
        assert "no route" in used["spare"]
        assert "to oncall through oncall" in client.get("/ui/transports").text


def test_transport_shows_its_dead_letters_and_a_wrong_test_recipient(served: Served) -> None:
    enqueue_dead(served.outbox, submitted("a"))
    client = served.visitor()
    assert "1 dead letter</a>, the latest: " in client.get("/ui/transports").text
    answer = submit(client, "transports/box/test", to="nobody")
    assert answer.status_code == 200
    card = answer.text.partition('id="box"')[2].partition("</section>")[0]
    assert "does not send to" in card
    assert 'value="nobody"' in card


@pytest.mark.thorough
def test_dead_letter_that_may_have_arrived_says_so(served: Served) -> None:
    enqueue(served.outbox, submitted("a"))
    claimed = claim_next(served.outbox)
    served.outbox.queue.mark_failed(claimed, 1.0, Failure.UNKNOWN, "500", AttemptOutcome(NotificationState.DEAD))
    enqueue_dead(served.outbox, submitted("b"))
    client = served.visitor()
    assert client.get("/ui/worklist").text.count('<span class="pill warning">may have arrived</span>') == 1
    listed = served.box.run_process("history", "--state", "dead", check=0).stdout
    assert listed.count("may have arrived") == 1


def test_worklist_counts_what_needs_a_decision(served: Served) -> None:
    enqueue_dead(served.outbox, submitted("a"))
    client, badge = served.visitor(), 'id="worklist-count">1</span>'
    assert badge in client.get("/ui/worklist").text
    (record,) = served.outbox.history.notifications()
    submit(client, "worklist", id=record.id, action="acknowledge")
    text = client.get("/ui/worklist").text
    assert badge not in text
    assert "Acknowledge the selected" not in text


def test_what_an_inbox_has_is_stored_and_not_sent(served: Served) -> None:
    served.store(1, user=OWNER)
    text = served.visitor().get("/ui/deliveries").text
    assert '<span class="pill ok">stored</span>' in text
    assert '<span class="pill ok">sent</span>' not in text


def test_job_that_is_not_found_keeps_the_list(served: Served) -> None:
    answer = served.visitor().get("/ui/jobs", params={"name": "nothing"})
    assert answer.status_code == 404
    assert "No job or entity has this name" in answer.text
    assert 'value="nothing"' in answer.text


def test_silenced_submission_can_be_reviewed(served: Served) -> None:
    box = served.box
    box.clock.now = time.time()
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.scan()
    add_silence(box.home, served.outbox, SilenceOptions(OWNER, job=["a"], duration="1h"))
    tree.submit("a", files={"main.py": CODE})
    step(box)
    waiting = served.visitor().get("/ui/").text
    assert "Fingerprint" in waiting
    assert "are not shown" not in waiting


def test_job_from_before_the_first_scan_says_that_its_files_are_not_shown(served: Served) -> None:
    box = served.box
    box.clock.now = time.time()
    TREES["D"](Disk(box.root, box.clock.time)).submit("a", files={"main.py": CODE})
    step(box)
    assert "The files of this job are not shown" in served.visitor().get("/ui/").text
