"""What `notify preview` shows is what is sent."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.services.samples import sample
from tests.previews import Previews, preview
from tests.support import ANA, Box, Mail
from tests.trees import PERMISSIONS, TREES, Disk, Tree

NAME = "income survey"
CONFIG = {"dependencies": ["syft-client==0.1.117", "pandas"], "datasets": ["income-2025"]}


def payload(kind: EventKind, audience: Audience = Audience.OWNER) -> dict[str, Any]:
    return dict(sample(kind, audience).items[0].event.payload)


REASON = payload(EventKind.JOB_REJECTED, Audience.SUBMITTER)["reason"]
STDERR = payload(EventKind.JOB_FAILED)["stderr"]
OUTPUTS = payload(EventKind.JOB_COMPLETED)["output_names"]
CODE, SCRIPT = (file["text"] for file in payload(EventKind.JOB_SUBMITTED)["code"][:2])
LAST_WRITE = '    by_region.to_csv(out / "by_region.csv")\n'
EARLIER_CODE = CODE.replace("MINIMUM_CELL = 10", "MINIMUM_CELL = 2").replace(
    LAST_WRITE, f'    frame.to_csv(out / "rows.csv", index=False)\n{LAST_WRITE}'
)


def scan_at(box: Box, moment: str) -> None:
    box.clock.now = datetime.fromisoformat(moment).timestamp()
    box.scan()


def submit(tree: Tree, name: str, code: str) -> None:
    tree.submit(name, files={"main.py": code}, config=CONFIG)
    tree.disk.write(tree.job_folder(name) / "run.sh", SCRIPT)


def end(tree: Tree, outcome: str) -> None:
    if outcome == "failed":
        tree.run(NAME, code=1, stderr=STDERR)
        return
    for name in OUTPUTS:
        tree.disk.write(tree.results_folder(NAME) / "outputs" / name, "1\n")
    rule = {"pattern": f"v1/{NAME}/outputs/**", "access": {"read": []}}
    tree.disk.write_yaml(tree.base / "review" / ANA / PERMISSIONS, {"rules": [rule]})
    tree.run(NAME)


def plain(mail: Mail) -> str:
    return mail.text.replace("\r\n", "\n").strip()


def mails_of_real_job(box: Box, outcome: str) -> Previews:
    """The mails of a job with the code, the times and the outcome of the sample, after one that was rejected."""
    tree = TREES["D"](Disk(box.root, box.clock.time))
    scan_at(box, "2026-01-13T09:00:00Z")
    submit(tree, "earlier", EARLIER_CODE)
    scan_at(box, "2026-01-13T09:05:00Z")
    tree.reject("earlier", reason=REASON)
    scan_at(box, "2026-01-15T15:30:00Z")
    box.new_mails()
    submit(tree, NAME, CODE)
    scan_at(box, "2026-01-15T17:40:00Z")
    if outcome == "rejected":
        tree.reject(NAME, reason=REASON)
    else:
        tree.approve(NAME)
        scan_at(box, "2026-01-15T17:40:14Z")
        end(tree, outcome)
    box.clock.advance(60)
    box.scan()
    return {(mail.event, mail.audience): (mail.subject, plain(mail)) for mail in box.new_mails()}


def compared(mail: tuple[str, str]) -> tuple[str, str]:
    """Subject and text without the fingerprint and without config.yaml, and with one name for both jobs."""
    subject, text = mail
    text = re.sub(r'^"config\.yaml" \(.*?(?=^--$)', "", text, flags=re.MULTILINE | re.DOTALL)
    return subject, re.sub("^Fingerprint: .*", "", text, flags=re.MULTILINE).replace('"earlier"', f'"{NAME}"')


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        ("rejected", ["job_submitted", "job_rejected"]),
        ("failed", ["job_submitted", "job_approved", "job_failed"]),
        ("done", ["job_submitted", "job_approved", "job_completed"]),
    ],
)
def test_preview_equals_the_mails_of_a_real_job(
    box: Box, capsys: pytest.CaptureFixture[str], outcome: str, kinds: list[str]
) -> None:
    """X14"""
    sent = mails_of_real_job(box, outcome)
    shown = {key: mail for kind in kinds for key, mail in preview(box.home, kind, capsys).items()}
    shown = {key: mail for key, mail in shown.items() if key[1] in {"owner", "submitter"}}

    assert {key: compared(mail) for key, mail in sent.items()} == {key: compared(mail) for key, mail in shown.items()}
