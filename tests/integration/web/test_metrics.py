"""`/metrics`, as a Prometheus server reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import Box
from tests.trees import TREES, Disk
from tests.web import Served, serve

Sample = tuple[str, tuple[str, ...]]  # name, and the values of its labels


def samples(client: httpx.Client) -> Mapping[Sample, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name.removeprefix("syftnotify_"), tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def changes(served: Served) -> Iterator[Mapping[Sample, float]]:
    """The values that have changed since the previous call, from the second one on."""
    client = served.client("operator")
    before: Mapping[Sample, float] = {}
    while True:
        now = samples(client)
        yield {name: value for name, value in now.items() if before.get(name, 0.0) != value}
        before = now


@pytest.mark.thorough
def test_metrics_follow_a_delivery_that_fails_first(box: Box) -> None:
    """X09: scans, events, attempts by outcome, queue depth and age, time to first attempt, transport state."""
    box.clock.now = time.time() - 3600  # the age of a queue is measured by the clock of the server
    tree = TREES["D"](Disk(box.root, box.clock.time))
    folder = box.home.mail
    with serve(box) as served:
        box.scan()
        seen = changes(served)
        next(seen)
        folder.write_text("in the way")
        tree.submit()
        box.clock.advance(2)
        box.scan()
        failed = next(seen)
        folder.unlink()
        box.clock.advance(3600)
        box.scan()
        sent = next(seen)

    assert failed["events_total", ()] == 1
    assert failed["attempts_total", ("unreachable",)] >= 1
    assert failed["queue_notifications", ("box",)] == 2
    assert failed["queue_oldest_age_seconds", ("box",)] > 0
    assert failed["first_attempt_seconds_count", ()] >= 1
    assert sent["queue_notifications", ("box",)] == 0
    assert sent["attempts_total", ("sent",)] == sent["messages_sent_total", ()] == 2
    assert sent["notifications_sent_total", ()] == 2


def test_metrics_of_an_empty_home_have_all_series(box: Box) -> None:
    """Alert rules need a series before its first event."""
    with serve(box) as served:
        found = samples(served.client("operator"))

    assert found["worker_up", ()] == found["worker_healthy", ()] == 0
    assert found["attempts_total", ("sent",)] == found["attempts_total", ("unknown",)] == 0
    assert found["scans_total", ()] == 0
    for name in ("dead_notifications", "unknown_outcomes_total", "held_notifications", "withheld_notifications"):
        assert found[name, ()] == 0
    assert found["first_attempt_seconds_bucket", ("+Inf",)] == 0
