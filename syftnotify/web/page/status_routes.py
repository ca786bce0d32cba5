"""Status: the health of the worker, and a chart of the last day."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from syftnotify.core.metrics import Sample, sample_of
from syftnotify.core.text import age_text, escape
from syftnotify.services.status import read_status
from syftnotify.web.page.access import OperatorParameter
from syftnotify.web.page.rendering import page_router, render
from syftnotify.web.state import State

router = page_router()

_DAY = 86400.0
_BINS = 96  # of 15 minutes
_WIDTH, _HEIGHT = 480, 60  # of a chart, in units of its view box


@router.get("/status")
def show_status(request: Request, state: State, visitor: OperatorParameter) -> Response:
    """The health of the worker as `notify status` reports it, the queues, and a chart of the last day."""
    current = read_status(state.home)
    history, now = state.outbox.history, time.time()
    holding = state.settings.holding
    metrics = history.metrics(holding=holding)
    queues = [
        {"transport": escape(queue.transport), "waiting": queue.waiting, "age": max(0.0, now - queue.oldest_at)}
        for queue in metrics.queues
    ]
    samples = state.outbox.samples.since(now - _DAY)
    if samples:
        samples.append(sample_of(metrics, now))
    return render(
        request,
        "status.html",
        visitor,
        current=current,
        report=current.report,
        run_state=current.run_state.name.lower().replace("_", " "),
        counts=history.counts(holding=holding),
        queues=queues,
        scanned=None if current.report.last_scan_s is None else max(0.0, now - current.report.last_scan_s),
        chart=chart_of(samples, now),
    )


def chart_of(samples: Sequence[Sample], now: float) -> Mapping[str, Any]:
    """The bars of the chart: messages and failures in each quarter of an hour, and the greatest age of a queue.

    A quarter without a sample, in which the worker did not run, has no bar.
    """
    start = now - _DAY
    sent: dict[int, int] = {}
    failed: dict[int, int] = {}
    ages: dict[int, float] = {}
    for number, sample in enumerate(samples):
        place = min(_BINS - 1, int((sample.at - start) / _DAY * _BINS))
        ages[place] = max(ages.get(place, 0.0), sample.oldest_age)
        if number:
            before = samples[number - 1]
            # A database that was replaced counts from zero.
            sent[place] = sent.get(place, 0) + max(0, sample.sent - before.sent)
            failed[place] = failed.get(place, 0) + max(0, sample.failed - before.failed)
    return {
        "has_samples": bool(samples),
        "sent": _bars(sent),
        "failed": _bars(failed),
        "ages": _bars(ages),
        "total_sent": sum(sent.values()),
        "total_failed": sum(failed.values()),
        "max_sent": max(sent.values(), default=0),
        "max_age": age_text(max(ages.values(), default=0.0)),
        "width": _WIDTH,
        "height": _HEIGHT,
        "covered": len(ages),
        "bins": _BINS,
        "start": start,
    }


def _bars(values: Mapping[int, float]) -> list[Mapping[str, float]]:
    """A bar for each value above zero, the highest one of the full height."""
    highest = max(values.values(), default=0.0)
    step = _WIDTH / _BINS
    return [
        {
            "x": round(place * step, 1),
            "width": round(step - 1, 1),
            "height": (height := round(max(1.0, value / highest * _HEIGHT), 1)),
            "y": round(_HEIGHT - height, 1),
        }
        for place, value in sorted(values.items())
        if value > 0
    ]
