"""Time to render the mail of a job request: 400 lines of code, and a diff to the last job of the scientist.

Each measurement is a message with its text and its HTML with inlined CSS; templates are compiled before.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.common import Figure, report
from syftnotify.core.kinds import Audience, EventKind, Status
from syftnotify.core.models import Item
from syftnotify.core.submissions import Submission
from syftnotify.rendering.email import EmailRenderer
from syftnotify.rendering.links import Links
from syftnotify.rendering.templates import TemplateRenderer
from syftnotify.services.review import review_submission
from syftnotify.services.samples import OWNER, example_job, sample
from syftnotify.sources.syftbox.submission_content import CodeFile, SubmissionContent

_LINES = 400
_CHANGED = range(10, _LINES, 20)  # every twentieth line differs from the earlier job
_ROUNDS = 60
_TARGET_MS = 5.0


def _code(word: str) -> str:
    lines = [f"    total_{number} = frame['income'].groupby({number}).sum()  # total" for number in range(_LINES)]
    for number in _CHANGED:
        lines[number] += f" {word}"
    return "\n".join(lines) + "\n"


def request_item() -> Item:
    """A job request with 400 lines of code of which 20 differ from those of an earlier job."""
    item = sample(EventKind.JOB_SUBMITTED, Audience.OWNER).items[0]
    job = example_job(Status.WAITING)
    files = [CodeFile("code/main.py", _code("now"), is_entry_point=True)]
    content = SubmissionContent(files, [], "1" * 64, {"code/main.py": "1"}, is_complete=True)
    before, hashes = {"code/main.py": _code("then")}, {"code/main.py": "2"}
    earlier = Submission(f"{job.entity}-before", "", job.owner, job.submitter, "before", "2" * 64, before, hashes)
    review = review_submission(job, content, [replace(earlier, status=Status.APPROVED)])
    return replace(item, event=replace(item.event, payload={**item.event.payload, **review}))


def measure() -> Iterator[Figure]:
    renderer = EmailRenderer(TemplateRenderer(), sender=OWNER, links=Links())
    item = request_item()
    message = renderer.message([item], OWNER)
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        renderer.message([item], OWNER)
        times.append((time.perf_counter() - started) * 1000)
    median = statistics.median(times)
    size = len(message.html.encode("utf-8")) / 1024
    yield Figure(
        f"render the mail of a job request, {_LINES} lines with a diff",
        median,
        "ms",
        target=f"at most {_TARGET_MS:g} ms",
        is_met=median <= _TARGET_MS,
        note=f"its HTML has {size:.0f} KB",
    )


if __name__ == "__main__":
    sys.exit(report(measure()))
