"""Sample notifications for previews: for each kind and audience a realistic one, and one with hostile content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from syftnotify.core.alerts import Alert, alert_payload
from syftnotify.core.detection import job_payload
from syftnotify.core.identifiers import stable_hash
from syftnotify.core.kinds import WORKER_KINDS, Audience, EventKind, Family, Status
from syftnotify.core.models import Event, Item, Job, Message
from syftnotify.core.ports import Renderer
from syftnotify.core.submissions import Submission, requests_of
from syftnotify.core.text import escape_block
from syftnotify.services.review import call_of, copy_of, review_change, review_submission
from syftnotify.sources.syftbox.submission_content import CodeFile, SubmissionContent

OWNER, SCIENTIST = "owner@datasite.example", "ana@uni.example"
_SUBMITTED, _DECIDED, _ENDED = "2026-01-15T15:30:00Z", "2026-01-15T17:40:00Z", "2026-01-15T17:40:14Z"
_REJECTED_AT = "2026-01-13T09:05:00Z"

_CODE = '''\
"""Income survey 2026: mean and spread of household income by region and age band."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import syft_client as sc

DATASET = "income-2025"
MINIMUM_CELL = 10
AGE_BANDS = [0, 18, 30, 45, 60, 75, 120]


def load(year: int) -> pd.DataFrame:
    """The households of one year, with the columns that are needed and nothing else."""
    folder = Path(sc.resolve_path(f"syft://owner@datasite.example/private/syft_datasets/{DATASET}"))
    columns = ["household_id", "region", "age_of_head", "income", "weight"]
    return pd.read_csv(folder / f"households_{year}.csv", usecols=columns)


def suppressed(groups: pd.DataFrame) -> pd.DataFrame:
    """Only cells with at least MINIMUM_CELL households leave the data site."""
    return groups[groups["households"] >= MINIMUM_CELL]


def summary(group: pd.DataFrame) -> pd.Series:
    return pd.Series({
        "households": len(group),
        "mean": round(np.average(group["income"], weights=group["weight"]), -2),
        "median": round(group["income"].median(), -2),
    })


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--out", type=Path, default=Path("outputs"))
    out = options.parse_args().out
    frame = load(2025)
    frame["age_band"] = pd.cut(frame["age_of_head"], bins=AGE_BANDS, right=False)
    by_region = suppressed(frame.groupby("region").apply(summary))
    by_region.to_csv(out / "by_region.csv")


if __name__ == "__main__":
    main()
'''
_EARLIER_CODE = _CODE.replace("MINIMUM_CELL = 10", "MINIMUM_CELL = 2").replace(
    '    by_region.to_csv(out / "by_region.csv")\n',
    '    frame.to_csv(out / "rows.csv", index=False)\n    by_region.to_csv(out / "by_region.csv")\n',
)
_STDERR = """\
Using CPython 3.12.8
Creating virtual environment at: .venv
Resolved 12 packages in 214ms
Installed 12 packages in 61ms
 + numpy==2.2.1
 + pandas==2.2.3
2026-01-15 17:40:12,104 INFO income: read 48211 households
Traceback (most recent call last):
  File "/srv/SyftBox/owner@datasite.example/app_data/job/inbox/ana@uni.example/v1/income survey/code/main.py", line 49, in <module>
    main()
  File "/srv/SyftBox/owner@datasite.example/app_data/job/inbox/ana@uni.example/v1/income survey/code/main.py", line 32, in summary
    "mean": round(np.average(group["income"], weights=group["weight"]), -2),
  File "/srv/SyftBox/owner@datasite.example/app_data/job/inbox/ana@uni.example/v1/income survey/code/.venv/lib/python3.12/site-packages/pandas/core/frame.py", line 4102, in __getitem__
    indexer = self.columns.get_loc(key)
KeyError: 'weight'
"""  # noqa: E501 - as the interpreter writes it
_COLLEAGUE = "team@lab.example"
_FINGERPRINT = stable_hash("preview")  # any digits
_REASON = "It writes single rows to rows.csv.\n\nPlease write aggregates of at least ten households only."

_HOSTILE_NAME = 'evil.example/main.py <b>"approved"</b> http://evil.example/ \u202e\u200bjob' + "x" * 60
_HOSTILE_LINES = """\
</pre></div><script>alert(1)</script><style>*{display:none}</style>
To decide

    job.approve()

✓ Approved: this job is safe. Sent by syftnotify.
--- lib/stats.py ---
Not shown: nothing
{{ 7 * 7 }} {% raw %} %s {0}
"""
_HOSTILE_CODE = _HOSTILE_LINES + "x" * 900 + "\n" + "very_long_name_" * 20 + "\n\tif x:\n\t\teval(y)\n"


class SampleType(StrEnum):
    """The content of a sample."""

    REALISTIC = "realistic"
    HOSTILE = "hostile"


@dataclass(frozen=True, slots=True)
class Sample:
    """A mail to preview: one item, or several of a digest."""

    kind: EventKind
    audience: Audience
    type: SampleType
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """A file name without its suffix."""
        return f"{self.kind.value}-{self.audience.value}-{self.type.value}"

    @property
    def recipient(self) -> str:
        return {Audience.SUBMITTER: SCIENTIST, Audience.OWNER: OWNER}.get(self.audience, _COLLEAGUE)

    def render(self, renderer: Renderer) -> Message:
        return renderer.message(self.items, self.recipient, digest="preview" if self.kind is EventKind.DIGEST else "")


def audiences_of(kind: EventKind) -> list[Audience]:
    """The audiences of which a kind has a sample: those with a template of their own, otherwise any recipient."""
    if kind is EventKind.DIGEST:
        return [Audience.OWNER, Audience.SUBMITTER]
    if kind in {EventKind.TEST, EventKind.SIGN_IN}:
        return [Audience.OWNER]
    found: list[Audience] = [each for each in kind.spec.audiences if each is not Audience.OPERATOR]
    if kind in {EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING}:
        found.append(Audience.SUBMITTER)  # on a scientist's machine
    if kind in {EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_TIMEOUT}:
        found += [Audience.RECIPIENT, Audience.JOB_REQUESTED]
    return found or [Audience.RECIPIENT]


def all_samples() -> Iterator[Sample]:
    """The samples of all kinds and audiences."""
    for type_ in SampleType:
        for kind in EventKind:
            for audience in audiences_of(kind):
                yield sample(kind, audience, type_)


def sample(kind: EventKind, audience: Audience, type_: SampleType = SampleType.REALISTIC) -> Sample:
    """The sample of one kind and audience."""
    items = _digest_items(audience, type_) if kind is EventKind.DIGEST else (_item(kind, audience, type_),)
    return Sample(kind, audience, type_, items)


_DIGEST_KINDS = (
    EventKind.JOB_FAILED,
    EventKind.JOB_SUBMITTED,
    EventKind.JOB_COMPLETED,
    EventKind.JOB_REJECTED,
    EventKind.JOB_COMPLETED,
    EventKind.PEER_REQUESTED,
)


def _digest_items(audience: Audience, type_: SampleType) -> tuple[Item, ...]:
    items = []
    for number, kind in enumerate(_DIGEST_KINDS, 1):
        item = _item(kind, audience, type_)
        name = f"{item.event.payload['name']}{number}"
        payload = {**item.event.payload, "name": name}
        if number > 4 and audience is Audience.OWNER:
            payload["submitter"] = f"bo{number}@lab.example"
        event = replace(item.event, entity=f"{item.event.entity}{number}", payload=payload)
        items.append(replace(item, id=f"preview-{number}", event=event, bundle="quiet-preview"))
    return tuple(items)


_STATUSES = {
    EventKind.JOB_FAILED: Status.FAILED,
    EventKind.JOB_TIMEOUT: Status.FAILED,
    EventKind.JOB_COMPLETED: Status.DONE,
    EventKind.JOB_APPROVED: Status.APPROVED,
    EventKind.JOB_REJECTED: Status.REJECTED,
    EventKind.JOB_LONG_RUNNING: Status.RUNNING,
}


def _item(kind: EventKind, audience: Audience, type_: SampleType) -> Item:
    status = _STATUSES.get(kind, Status.WAITING)
    event = _event(kind, status, type_)
    return Item(f"preview-{kind.value}", event, audience, status, detected_at=1768498814.0)


def _event(kind: EventKind, status: Status, type_: SampleType) -> Event:
    is_hostile = type_ is SampleType.HOSTILE
    if kind in WORKER_KINDS:
        return Event(kind, "worker/preview", "preview", _SUBMITTED, _worker_payload(kind, is_hostile=is_hostile))
    if not kind.spec.audiences or kind.spec.family is Family.RESOURCE:
        return _emitted_event(kind, is_hostile=is_hostile)
    if kind.spec.family is Family.PEER:
        peer = "evil.example <b>" if is_hostile else SCIENTIST
        facts = {"owner": OWNER, "submitter": peer, "name": peer}
        return Event(kind, f"peer/{OWNER}/{SCIENTIST}", "", _SUBMITTED, facts)
    job = example_job(status, is_hostile=is_hostile)
    at = {Status.WAITING: _SUBMITTED, Status.APPROVED: _DECIDED, Status.REJECTED: _DECIDED}.get(status, _ENDED)
    code = {"return_code": -1} if kind is EventKind.JOB_TIMEOUT else {}
    payload: dict[str, Any] = {
        **job_payload(job),
        **code,
        "times": _times(status),
        **_more(kind, job, is_hostile=is_hostile),
    }
    if kind in {EventKind.JOB_WAITING, EventKind.JOB_LONG_RUNNING}:
        payload |= {"minutes": 1440, "requests": requests_of(job.details), "call": call_of(job)}
    return Event(kind, job.entity, "preview", at, payload)


def _more(kind: EventKind, job: Job, *, is_hostile: bool) -> dict[str, Any]:
    """What the files of a job add to the payload."""
    payload = _PAYLOADS.get(kind)
    return payload(job, is_hostile) if payload else {}


def _times(status: Status) -> dict[str, str]:
    times = {"submitted": _SUBMITTED}
    if status is Status.REJECTED:
        times["rejected"] = _DECIDED
    elif status is not Status.WAITING:
        times["approved"] = _DECIDED
    if status in {Status.DONE, Status.FAILED}:
        times["ended"] = _ENDED
    return times


def example_job(status: Status, *, is_hostile: bool = False) -> Job:
    """A job of layout D."""
    name = _HOSTILE_NAME if is_hostile else "income survey"
    return Job(
        entity=f"job/D/{OWNER}/{SCIENTIST}/preview",
        layout="D",
        owner=OWNER,
        submitter=SCIENTIST,
        claimed_submitter="",
        name=name,
        status=status,
        facts=(),
        submission_id=_SUBMITTED,
        details={
            "entrypoint": "main.py",
            "type": "python",
            "dependencies": ["syft-client==0.1.117", "pandas", *(["evil.example>=1<b>"] if is_hostile else [])],
            "datasets": ["http://evil.example/<b>" if is_hostile else "income-2025"],
            "reason": _reason(status, is_hostile=is_hostile),
            "return_code": {Status.FAILED: 137 if is_hostile else 1, Status.DONE: 0}.get(status),
        },
    )


def _reason(status: Status, *, is_hostile: bool) -> str:
    if status is not Status.REJECTED:
        return ""
    return f"{_HOSTILE_LINES}\n{'y' * 300}" if is_hostile else _REASON


def _content(code: str, *, is_hostile: bool) -> SubmissionContent:
    files = [
        CodeFile("code/main.py", escape_block(code), is_entry_point=True),
        CodeFile("run.sh", "#!/bin/bash\nuv run python main.py\n"),
        CodeFile("config.yaml", f"name: income survey\nsubmitted_at: '{_SUBMITTED}'\n"),
    ]
    left_out: list[dict[str, Any]] = []
    if is_hostile:
        files.insert(1, CodeFile("code/a.py", "x = 1\n" * 3000, is_cut=True))
        left_out = [
            {"path": "code/evil.example.so", "why": "executable", "unlisted": True},
            {"path": "code/data.bin", "why": "4711 bytes", "binary": True},
        ]
    hashes = {file.path: stable_hash(file.text)[:16] for file in files}
    return SubmissionContent(files, left_out, _FINGERPRINT, hashes, not is_hostile)


def _earlier(job: Job, *, is_hostile: bool) -> Submission:
    code = _HOSTILE_CODE.replace("eval", "print") if is_hostile else _EARLIER_CODE
    copy = copy_of(job, _content(code, is_hostile=is_hostile))
    return replace(
        copy,
        entity=f"{copy.entity}-1",
        fingerprint="0" * 64,
        status=Status.REJECTED,
        reason=_reason(Status.REJECTED, is_hostile=is_hostile),
        decided_at=_REJECTED_AT,
    )


def _submission_payload(job: Job, is_hostile: bool) -> dict[str, Any]:
    earlier = _earlier(job, is_hostile=is_hostile)
    content = _content(_HOSTILE_CODE if is_hostile else _CODE, is_hostile=is_hostile)
    return review_submission(job, content, [earlier])


def _change_payload(job: Job, is_hostile: bool) -> dict[str, Any]:
    earlier = replace(_earlier(job, is_hostile=is_hostile), status=Status.WAITING, reason="", decided_at="")
    content = _content(_HOSTILE_CODE if is_hostile else _CODE, is_hostile=is_hostile)
    return review_change(job, content, earlier)


def _timeout_payload(job: Job, is_hostile: bool) -> dict[str, Any]:
    payload = _failure_payload(job, is_hostile)
    return payload if is_hostile else {**payload, "stderr": "epoch 41 of 100\nepoch 42 of 100\n", "excerpt": []}


def _failure_payload(_: Job, is_hostile: bool) -> dict[str, Any]:
    code = _CODE.split("\n")
    excerpt = [{"number": number, "text": code[number - 1]} for number in range(30, 35)]
    if is_hostile:
        return {
            "stderr": escape_block(_HOSTILE_CODE + _STDERR),
            "stderr_cut": True,
            "shares_logs": True,
            "can_rerun": True,
        }
    return {"stderr": _STDERR, "stderr_cut": False, "shares_logs": True, "can_rerun": True, "excerpt": excerpt}


_OUTPUTS = f"{OWNER}/app_data/job/review/{SCIENTIST}/v1/income survey/outputs"


def _outputs_payload(_: Job, is_hostile: bool) -> dict[str, Any]:
    names = ["evil.example/main.py<b>", "z" * 95] if is_hostile else ["by_age.csv", "by_region.csv", "log.txt"]
    return {"outputs": len(names), "output_names": names, "output_folder": _OUTPUTS, "shared": False}


_PAYLOADS: Mapping[EventKind, Callable[[Job, bool], dict[str, Any]]] = {
    EventKind.JOB_SUBMITTED: _submission_payload,
    EventKind.JOB_FILES_CHANGED: _change_payload,
    EventKind.JOB_FAILED: _failure_payload,
    EventKind.JOB_TIMEOUT: _timeout_payload,
    EventKind.JOB_COMPLETED: _outputs_payload,
}


def _worker_payload(kind: EventKind, *, is_hostile: bool) -> dict[str, Any]:
    if kind is EventKind.HEARTBEAT:
        figures = {"jobs": 12, "peers": 3, "sent": 41, "queued": 0, "dead": 0, "held": 0}
        return {"owner": OWNER, **figures, "sign_ins": {"office": "2026-01-20T10:00:00Z"}}
    if kind is EventKind.TEST:
        return {"owner": OWNER, "transport": "office"}
    if kind is EventKind.SIGN_IN:
        return {"owner": OWNER, "sign_in_url": "https://notify.datasite.example/ui/sign-in/Zk3v9Q", "minutes": 15}
    if is_hostile:
        listed = [
            {"kind": "job_failed", "recipient": SCIENTIST, "transport": "office", "reason": "550 <b>evil.example</b>"}
        ]
        return {"owner": OWNER, **alert_payload(Alert.DEAD_LETTERS, {"count": 12, "listed": listed})}
    facts = {
        "transport": "office",
        "reason": "mail.example refuses the sign-in (535)",
        "queued": 4,
        "needs_sign_in": False,
        "host": "",
    }
    return {"owner": OWNER, **alert_payload(Alert.TRANSPORT_STOPPED, facts)}


def _emitted_event(kind: EventKind, *, is_hostile: bool) -> Event:
    """A sample event of a kind that only `notify emit` submits."""
    name = _HOSTILE_NAME if is_hostile else "nightly-sync"
    payload: dict[str, Any] = {"name": name, "url": "https://lab.example/runs/7"}
    if kind.value.endswith("_failed"):
        payload |= {"step": "build", "error": f"{_HOSTILE_LINES if is_hostile else ''}{_STDERR}"}
    return Event(kind, "lab/7", "preview", _SUBMITTED, payload, {"user": "alice"}, emitted=True)
