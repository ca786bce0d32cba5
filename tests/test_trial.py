"""Is it wired right, and what will they read? `notify test` with real servers, `notify preview` beside real mails."""

from __future__ import annotations

import contextlib
import gc
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.rendering.templates import built_in_folder
from syftnotify.services.preview import previews
from syftnotify.services.settings import load
from syftnotify.services.test_send import send_tests
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from tests.commands import run_command
from tests.fakes import google, mailserver
from tests.fakes.google import Google
from tests.fakes.mailserver import HOST, MailServer
from tests.fakes.web import Web, says, web
from tests.support import ANA, BO, OWNER, Box, Mail, mails_in, wait_until
from tests.test_cli import fingerprints
from tests.trees import TREES, Disk

NAMES = ["box", "office", "mail", "team", "oncall"]


@dataclass(frozen=True, slots=True)
class World:
    """Every kind of transport, each with a real server behind it."""

    box: Box
    office: MailServer
    google: Google
    team: Web
    oncall: Web

    def transports(self) -> dict[str, dict[str, Any]]:
        return {
            "box": {"type": "maildir"},
            "office": {"type": "smtp", "smtp_url": f"smtp://{HOST}:{self.office.port}", "from": BO},
            "mail": {"type": "gmail", "api_endpoint": self.google.url},
            "team": {"type": "slack", "url": self.team.url, "default_recipient": "#jobs"},
            "oncall": {"type": "webhook", "url": self.oncall.url},
        }

    def configure(self, changes: dict[str, dict[str, Any]] | None = None, /, **names: str) -> None:
        """All of them, or those of `names` (name -> the one that it is); they are tried in the order of their names.

        `changes` are further settings, by name.
        """
        sections = self.transports()
        chosen = {name: sections[which] for name, which in (names or dict(zip(NAMES, NAMES, strict=True))).items()}
        for name, settings in (changes or {}).items():
            chosen[name] = {**chosen[name], **settings}
        self.box.configure({"transports": chosen, "routes": [{"events": ["job_failed"], "via": next(iter(chosen))}]})

    @property
    def texts(self) -> dict[str, list[str]]:
        """What arrived, by transport."""
        return {
            "box": [mail.text for mail in mails_in(self.box.home.mail)],
            "office": [mail.text for mail in self.office.committed],
            "mail": [post.text for post in self.google.posts],
            "team": [request.json["text"] for request in self.team.requests],
            "oncall": [request.json["event"] for request in self.oncall.requests],
        }

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(texts) for name, texts in self.texts.items() if texts}


@pytest.fixture
def world(box: Box) -> Iterator[World]:
    with mailserver.serving() as office, google.serving() as one, web() as team, web(says(200)) as oncall:
        made = World(box, office, one, team, oncall)
        made.configure()
        one.write_token(box.home.token)
        yield made


# -- notify test -------------------------------------------------------------------------------------------------------


WHERE = {"box": "home/mail", "office": BO, "mail": OWNER, "team": "#jobs", "oncall": "oncall"}


@pytest.mark.parametrize("name", NAMES)
def test_one_short_message_goes_through_the_transport_that_is_named(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """N02, N04: and where it went is said."""
    assert run_command(world.box.home, "test", name) == 0
    gc.collect()  # a connection that was left open complains here, and not in some other test

    assert world.counts == {name: 1}
    assert len(world.texts[name][0].splitlines()) <= 3
    assert "test" in world.texts[name][0].lower()
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert name in line
    assert WHERE[name] in line
    assert said.err == ""


def test_without_a_name_each_transport_is_tried(world: World) -> None:
    done = world.box.notify("test", check=0)

    assert world.counts == dict.fromkeys(NAMES, 1)
    assert len(done.stdout.splitlines()) == len(NAMES)


def test_what_fails_is_told_with_its_reason_and_the_others_are_still_tried(world: World) -> None:
    """N02: exit code 1."""
    world.oncall.usual = says(404, "no such hook")
    world.team.usual = says(400, "invalid_payload")
    world.office.usual["RCPT"] = mailserver.says("550 5.1.1 nobody of that name")
    world.box.home.token.unlink()
    (world.box.folder / "file").write_text("")
    nowhere = {"box": {"path": str(world.box.folder / "file" / "mail")}}
    world.configure(nowhere, **dict(zip(NAMES, NAMES, strict=True)), well="box")
    done = world.box.notify("test", check=1)

    reasons = {
        "box": "the Maildir cannot be opened",
        "office": "550",
        "mail": "notify init",
        "team": "invalid_payload",
        "oncall": "404",
    }
    lines = {name: [line for line in done.stderr.splitlines() if f" {name}:" in line] for name in reasons}
    assert {name: len(found) for name, found in lines.items()} == dict.fromkeys(reasons, 1), done.stderr
    assert all(word in lines[name][0] for name, word in reasons.items()), done.stderr
    assert "Traceback" not in done.stderr
    assert "secret-path" not in done.stderr
    assert "through well" in done.stdout
    assert len(mails_in(world.box.home.mail)) == 1


def test_a_server_that_is_down_is_a_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.office.stop()

    assert run_command(world.box.home, "test", "office") == 1
    assert "could not be reached" in capsys.readouterr().err


def test_a_webhook_whose_text_is_wrong_keeps_no_other_from_being_tried(world: World) -> None:
    world.configure({"oncall": {"format": "template", "body": "${nothing}"}}, oncall="oncall", well="box")
    done = world.box.notify("test")

    assert done.returncode in {1, 2}
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.counts == {"box": 1}


def test_a_template_with_a_mistake_is_a_reason_and_the_others_are_still_tried(world: World) -> None:
    own(world.box, "test.txt", "Hello\n{% if job %}\n")
    world.configure(box="box", oncall="oncall")
    done = world.box.notify("test", check=1)

    assert "test.txt" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.counts == {"oncall": 1}


def test_a_name_that_there_is_not_is_an_error_that_names_those_there_are(world: World) -> None:
    done = world.box.notify("test", "ofice", check=2)

    assert "'ofice'" in done.stderr
    assert all(name in done.stderr for name in NAMES)
    assert world.counts == {}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("box", "#jobs"),
        ("office", "oncall"),
        ("mail", "Ana <ana@uni.example>"),
        ("office", "ana@uni.example,bo@lab.example"),
        ("office", "ana@uni.example\nbcc: bo@lab.example"),
        ("team", ANA),
        ("team", "jobs"),
        ("oncall", ANA),
        ("oncall", "#jobs"),
        ("oncall", "pager"),
    ],
)
def test_somebody_to_whom_a_transport_does_not_carry_is_refused(world: World, name: str, to: str) -> None:
    """N15"""
    with pytest.raises(ConfigError, match=name):
        list(send_tests(load(world.box.home), name, to))

    assert world.counts == {}


def test_somebody_else_can_be_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.box.notify("test", "office", "--to", ANA, check=0)
    assert run_command(world.box.home, "test", "team", "--to", "@ana") == 0
    assert "@ana" in capsys.readouterr().out

    (mail,) = world.office.committed
    assert (mail.recipients, mail.to) == ((ANA,), ANA)
    assert [request.json["channel"] for request in world.team.requests] == ["@ana"]


def test_whom_no_order_of_the_transports_decides(world: World) -> None:
    """Somebody is named and no transport: what happens must not depend on which of them is written first."""
    outcomes = []
    for names in ({"a": "office", "b": "team"}, {"a": "team", "b": "office"}):
        world.configure(**names)
        before = world.counts
        code = world.box.notify("test", "--to", ANA).returncode
        outcomes.append((code, {name: count - before.get(name, 0) for name, count in world.counts.items()}))

    assert outcomes[0] == outcomes[1]


def test_a_configuration_with_mistakes_sends_nothing(world: World) -> None:
    world.configure({"oncall": {"tokn": "x"}})

    assert "transports.oncall.tokn" in world.box.notify("test", check=2).stderr
    assert world.counts == {}


def test_a_test_leaves_no_trace_in_the_home(world: World) -> None:
    before = fingerprints(world.box.home.root)
    world.box.notify("test", check=0)
    after = fingerprints(world.box.home.root)

    # The access token that it asked Google for is kept, as at any sign-in.
    kept = {name: mark for name, mark in after.items() if not name.startswith("mail") and name != "gmail_token.json"}
    assert kept == {name: mark for name, mark in before.items() if name != "gmail_token.json"}


def test_a_test_beside_a_worker_is_nothing_that_the_worker_knows(world: World) -> None:
    world.box.configure(
        {
            "transports": world.transports(),
            "routes": [{"events": ["job_failed"]}],
            "notify": {"interval": 3600, "watch": "off"},
        }
    )
    world.box.notify("start", check=0)
    try:
        wait_until(lambda: worker_status.read(world.box.home).last_scan_s, what="a look")
        before = {name: (world.box.home.root / name).read_bytes() for name in ("outbox.db", "state.json")}
        pid = worker_lock.holder_pid(world.box.home)
        world.box.notify("test", check=0)

        assert world.counts == dict.fromkeys(NAMES, 1)
        assert worker_lock.holder_pid(world.box.home) == pid
        assert json.loads(world.box.notify("history", "--json", check=0).stdout) == []
        assert {name: (world.box.home.root / name).read_bytes() for name in before} == before
    finally:
        world.box.notify("stop", check=0)


# -- notify preview ----------------------------------------------------------------------------------------------------

Shown = dict[tuple[str, str], tuple[str, str]]  # kind and audience -> subject and text


def own(box: Box, name: str, text: str | bytes) -> None:
    """A template of one's own."""
    folder = box.home.templates / "emails"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def previewed(output: str) -> Shown:
    """What `notify preview` printed, mail by mail."""
    parts = re.split(r"^(\w+) to the (\w+)\nSubject: (.*)\n\n", output, flags=re.MULTILINE)
    assert parts[0] == "", output
    mails = zip(*(iter(parts[1:]),) * 4, strict=True)
    return {(kind, audience): (subject, text.strip()) for kind, audience, subject, text in mails}


def shown(home: Home, name: str, capsys: pytest.CaptureFixture[str]) -> Shown:
    run_command(home, "preview", name)
    return previewed(capsys.readouterr().out)


TEMPLATES = sorted({path.stem for path in (built_in_folder() / "emails").iterdir()})


@pytest.mark.parametrize("name", [*TEMPLATES, *(kind.value for kind in EventKind)])
def test_every_template_and_every_event_can_be_looked_at(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """X14: in a home that is still empty."""
    mails = shown(Home(tmp_path), name, capsys)

    assert mails
    for subject, text in mails.values():
        assert subject
        assert text
        assert "None" not in text
        assert "{{" not in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_of_ones_own_is_what_is_looked_at(box: Box, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """X14: under the name of its file."""
    own(box, f"{name}.txt", f"my words of {name}")

    assert f"my words of {name}" in {text for _, text in shown(box.home, name, capsys).values()}


@pytest.mark.parametrize(
    "name", ["new_job", "new_job.html", "emails/new_job.txt", "job_failed", "job.failed", "FAILED"]
)
def test_a_name_may_be_written_in_any_way(box: Box, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    mails = shown(box.home, name, capsys)

    assert {kind for kind, _ in mails} <= {"job_submitted", "job_failed", "job_timeout"}
    assert all("income survey" in text for _, text in mails.values())


def test_the_command_prints_subject_and_text(box: Box) -> None:
    mails = previewed(box.notify("preview", "job_failed", check=0).stdout)

    subject, text = mails["job_failed", "owner"]
    assert subject == 'SyftBox job "income survey" from ana@uni.example'
    assert "KeyError: 'person_id'" in text


def test_an_event_is_looked_at_as_everybody_hears_of_it(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """Although a template of one of them has the name of the event."""
    mails = shown(box.home, "job_submitted", capsys)

    assert mails.keys() == {("job_submitted", "owner"), ("job_submitted", "submitter")}


def test_the_html_is_written_into_a_file(box: Box) -> None:
    path = box.folder / "look.html"
    done = box.notify("preview", "new_job", "--html", str(path), check=0)
    text = path.read_text(encoding="utf-8")

    assert str(path) in done.stdout
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "income survey" in text
    assert "style=" in text


def test_a_file_that_cannot_be_written_is_an_error(box: Box) -> None:
    done = box.notify("preview", "new_job", "--html", str(box.folder / "none" / "look.html"), check=1)

    assert "look.html cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "near"),
    [("new_jub", "new_job"), ("job_faild", "job_failed"), ("peer_grantd", "peer_granted"), ("digset", "digest")],
)
def test_an_unknown_name_suggests_the_nearest(box: Box, name: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        previews(box.home, name)

    assert f"`{near}`" in str(caught.value)


def test_an_unknown_name_is_exit_two(box: Box) -> None:
    done = box.notify("preview", "new_jub", check=2)

    assert "`new_job`" in done.stderr
    assert "Traceback" not in done.stderr


WRONG = [
    "Hello\n{% if job %}\n",
    "{{ job_name.first.second }}",
    "{{ 1 / 0 }}",
    "{{ job_name | upcase }}",
    "{% include 'emails/nowhere.txt' %}",
    "{{ job_name + 1 }}",
    "{{ timestamp.nothing() }}",
    b"caf\xe9",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_template_with_a_mistake_is_a_clear_error(box: Box, text: str | bytes) -> None:
    """X14: which template it is, and no traceback."""
    own(box, "new_job.txt", text)
    with pytest.raises(NotifyError) as caught:
        previews(box.home, "new_job")

    assert "new_job.txt" in f"{caught.value} {caught.value.hint}"


def test_a_template_with_a_mistake_is_no_traceback_at_the_terminal(box: Box) -> None:
    own(box, "new_job.html", "{% if job %}")
    done = box.notify("preview", "new_job")

    assert done.returncode in {1, 2}
    assert "new_job.html" in done.stderr
    assert "Traceback" not in done.stderr


# -- what is looked at is what is sent ---------------------------------------------------------------------------------

WHEN = datetime.fromisoformat("2026-01-15T15:30:00Z").timestamp()
CODE = "import pandas\n\nprint(pandas.read_csv('people.csv').describe())\n"


@pytest.fixture
def sent(box: Box) -> Shown:
    """The mails of a real job of the same name, at the same minute, of the same people, from its arrival to its end."""
    box.clock.now = WHEN
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


def plain(mail: Mail) -> str:
    return mail.text.replace("\r\n", "\n").strip()


def story(text: str) -> list[str]:
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
def test_what_is_looked_at_is_what_is_sent(
    box: Box, sent: Shown, kind: str, audience: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """X14"""
    subject, text = sent[kind, audience]
    name = "new_job" if (kind, audience) == ("job_submitted", "owner") else kind
    subject_there, text_there = shown(box.home, name, capsys)[kind, audience]

    assert story(subject_there) == story(subject)
    assert story(text_there) == story(text)


def test_the_test_message_looks_as_it_is_shown(world: World) -> None:
    world.box.notify("test", "box", check=0)
    (mail,) = mails_in(world.box.home.mail)

    assert previewed(world.box.notify("preview", "test", check=0).stdout) == {
        ("test", "owner"): (mail.subject, plain(mail))
    }


def test_what_the_configuration_adds_to_each_mail_is_looked_at_too(box: Box) -> None:
    """N08, G15: a link in the text is half of what a template of one's own is tried out for."""
    box.configure(
        {
            "transports": {"box": {"type": "maildir", "subject_prefix": "[prod]"}},
            "links": {"job": "https://box.example/jobs/{job}"},
        }
    )
    ((subject, text),) = previewed(box.notify("preview", "new_job", check=0).stdout).values()

    assert subject.startswith("[prod] ")
    assert "https://box.example/jobs/income%20survey" in text


@pytest.mark.parametrize("body", ["plain", "html"])
def test_both_faces_can_be_looked_at_whichever_is_sent(box: Box, body: str) -> None:
    box.configure({"transports": {"box": {"type": "maildir", "body": body}}})
    path = box.folder / "look.html"
    ((_, text),) = previewed(box.notify("preview", "new_job", check=0).stdout).values()
    box.notify("preview", "new_job", "--html", str(path), check=0)

    assert "income survey" in text
    assert "income survey" in path.read_text(encoding="utf-8")


def test_looking_changes_nothing(box: Box) -> None:
    before = fingerprints(box.folder)
    with contextlib.suppress(ConfigError):
        previews(box.home, "nonsense")
    box.notify("preview", "job_failed", check=0)

    assert fingerprints(box.folder) == before
