"""What `notify preview` shows is what is sent."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.previews import Previews, preview
from tests.support import ANA, Box, Mail
from tests.trees import TREES, Disk

CODE = "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n"


SUBMITTED_AT = datetime.fromisoformat("2026-01-15T15:30:00Z").timestamp()


def plain(mail: Mail) -> str:
    return mail.text.replace("\r\n", "\n").strip()


@pytest.fixture
def sent_mails(box: Box) -> Previews:
    """The mails of a real job with the name, people and times of the sample."""
    box.clock.now = SUBMITTED_AT
    real = TREES["D"](Disk(box.root, box.clock.time))
    real.grant(ANA)
    box.scan()
    for name in ("income survey", "refused", "good"):
        real.submit(name, ANA, files={"main.py": CODE})
    box.scan()
    real.reject("refused", ANA, reason="it reads whole rows")
    for name in ("income survey", "good"):
        real.approve(name, ANA)
    real.run("income survey", ANA, code=1, stderr="Traceback (most recent call last):\nKeyError: 'person_id'\n")
    real.run("good", ANA)
    box.clock.advance(60)
    box.scan()
    return {
        (mail.event, mail.audience): (mail.subject, plain(mail))
        for mail in box.mails()
        if (mail.event in {"job_submitted", "job_failed"}) == ("income survey" in mail.text)
    }


def outline(text: str) -> list[str]:
    """The lines of a mail without code and values, with one name for all jobs."""
    news = re.sub(r'"(refused|good)"', '"income survey"', text).partition("\n--- ")[0]
    first, *facts = filter(None, news.splitlines())
    return [first, *(fact.partition(":")[0] for fact in facts)]


PREVIEWED = [
    ("job_submitted", "owner"),
    ("job_submitted", "submitter"),
    ("job_approved", "submitter"),
    ("job_rejected", "submitter"),
    ("job_completed", "owner"),
    ("job_completed", "submitter"),
    ("job_failed", "owner"),
    ("job_failed", "submitter"),
]


def test_preview_equals_the_mail_of_a_real_job(
    box: Box, sent_mails: Previews, capsys: pytest.CaptureFixture[str]
) -> None:
    """X14"""
    for kind, audience in PREVIEWED:
        subject, text = sent_mails[kind, audience]
        name = "new_job" if (kind, audience) == ("job_submitted", "owner") else kind
        previewed_subject, previewed_text = preview(box.home, name, capsys)[kind, audience]

        assert outline(previewed_subject) == outline(subject)
        assert outline(previewed_text) == outline(text)
