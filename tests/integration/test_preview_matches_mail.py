"""What `notify preview` shows is what is sent."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from syftnotify.system.paths import Home
from tests.in_process import run_command
from tests.support import ANA, Box, Mail
from tests.trees import TREES, Disk

Previews = dict[tuple[str, str], tuple[str, str]]  # kind and audience -> subject and text


CODE = "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n"


SUBMITTED_AT = datetime.fromisoformat("2026-01-15T15:30:00Z").timestamp()


def plain(mail: Mail) -> str:
    return mail.text.replace("\r\n", "\n").strip()


@pytest.fixture
def sent_mails(box: Box) -> Previews:
    """The mails of a real job of the same name, at the same minute, of the same people, from its arrival to its end."""
    box.clock.now = SUBMITTED_AT
    real = TREES["D"](Disk(box.root, box.clock.time))
    real.grant(ANA)
    box.look()
    for name in ("income survey", "refused", "good"):
        real.submit(name, ANA, files={"main.py": CODE})
    box.look()
    real.reject("refused", ANA, reason="it reads whole rows")
    for name in ("income survey", "good"):
        real.approve(name, ANA)
    real.run("income survey", ANA, code=1, stderr="Traceback (most recent call last):\nKeyError: 'person_id'\n")
    real.run("good", ANA)
    box.clock.advance(60)
    box.look()
    return {
        (mail.event, mail.audience): (mail.subject, plain(mail))
        for mail in box.mails()
        if (mail.event in {"job_submitted", "job_failed"}) == ("income survey" in mail.text)
    }


def parse_previews(output: str) -> Previews:
    """What `notify preview` printed, mail by mail."""
    parts = re.split(r"^(\w+) to the (\w+)\nSubject: (.*)\n\n", output, flags=re.MULTILINE)
    assert parts[0] == "", output
    mails = zip(*(iter(parts[1:]),) * 4, strict=True)
    return {(kind, audience): (subject, text.strip()) for kind, audience, subject, text in mails}


def preview(home: Home, name: str, capsys: pytest.CaptureFixture[str]) -> Previews:
    run_command(home, "preview", name)
    return parse_previews(capsys.readouterr().out)


def outline(text: str) -> list[str]:
    """The lines that tell the news: without code, with one name for all jobs, and of a fact its name alone."""
    news = re.sub(r'"(refused|good)"', '"income survey"', text).partition("\n--- ")[0]
    first, *facts = filter(None, news.splitlines())
    return [first, *(fact.partition(":")[0] for fact in facts)]


@pytest.mark.parametrize(
    ("kind", "audience"),
    [
        ("job_submitted", "owner"),
        ("job_submitted", "submitter"),
        ("job_approved", "submitter"),
        ("job_rejected", "submitter"),
        ("job_completed", "owner"),
        ("job_completed", "submitter"),
        ("job_failed", "owner"),
        ("job_failed", "submitter"),
    ],
)
def test_preview_equals_the_mail_of_a_real_job(
    box: Box, sent_mails: Previews, kind: str, audience: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """X14"""
    subject, text = sent_mails[kind, audience]
    name = "new_job" if (kind, audience) == ("job_submitted", "owner") else kind
    subject_there, text_there = preview(box.home, name, capsys)[kind, audience]

    assert outline(subject_there) == outline(subject)
    assert outline(text_there) == outline(text)
