"""What may be typed and what comes back: the real command, its words and its exit codes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from syftnotify import __version__
from syftnotify.core.errors import ConfigError
from syftnotify.services.demo import Tree
from syftnotify.services.settings import load
from syftnotify.system import worker_lock, worker_status
from tests.fakes.mailserver import serving
from tests.support import ANA, BO, OWNER, PATIENCE, Box, mails_in, wait_until

COMMANDS = ("init", "start", "status", "logs", "stop", "restart", "run", "demo")


@pytest.fixture
def person(tmp_path: Path) -> Box:
    """Somebody who has never used this: an empty home folder, and no variable of ours."""
    return Box(tmp_path, env={"SYFTNOTIFY_HOME": ""})


@pytest.fixture
def creds(tmp_path: Path) -> Path:
    """Where that person's things come to lie."""
    return tmp_path / ".syft-creds"


@pytest.fixture
def tree(box: Box) -> Tree:
    """The box's tree, with ana as a peer, at which a first look has been done."""
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    return tree


def config_in(home: Path) -> Any:
    return yaml.safe_load((home / "config.yaml").read_text(encoding="utf-8"))


def fingerprints(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and content of every file below `folder`."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def one_object(text: str) -> dict[str, Any]:
    """The one JSON object that `text` is; NaN and Infinity are not JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


# -- help, version, home ---------------------------------------------------------------------------------------------


def test_help_names_every_command_and_fits_the_terminal(person: Box) -> None:
    """S16."""
    done = person.notify("--help", check=0)

    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not [text for text in done.stdout.splitlines()[1:] if text.endswith("...")], "a line of help is cut off"
    assert "\n  dead " not in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(person: Box, command: str) -> None:
    """S16."""
    done = person.notify(command, "--help", check=0)

    assert "Usage:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_version_is_said(person: Box) -> None:
    """S16."""
    assert __version__ in person.notify("--version", check=0).stdout


def test_asking_leaves_no_trace(person: Box, creds: Path) -> None:
    """S16: help, status and a rehearsal write nothing."""
    person.notify("status", check=3)
    person.notify("run", "--dry-run", check=2)

    assert not creds.exists()


@pytest.mark.parametrize(
    "words", [("emit", "bogus", "--entity", "x"), ("preview", "bogus"), ("history", "--event", "bogus")]
)
def test_unknown_kind_that_resembles_none_is_not_guessed_at(box: Box, words: tuple[str, ...]) -> None:
    """D9: and `emit` lists none of the kinds that it refuses."""
    said = box.notify(*words, check=2).stderr

    assert "did you mean" not in said
    assert words[0] != "emit" or "digest" not in said


def test_preview_without_a_name_lists_the_names(box: Box) -> None:
    """D9"""
    listed = box.notify("preview", check=0).stdout

    assert "new_job" in listed
    assert "gpu_available" in listed


def test_status_with_a_mistake_in_the_configuration_shows_it(box: Box) -> None:
    """D9"""
    box.configure({"bogus": 1})

    done = box.notify("status", check=3)

    assert "bogus: unknown" in done.stderr
    assert f"correct {box.home.config}, then run `notify start`" in done.stdout


def test_history_without_notifications_is_not_a_filter_without_matches(box: Box) -> None:
    """D9"""
    box.configure()
    box.look()

    assert "no notifications yet in" in box.notify("history", check=0).stdout
    assert "no notification matches" in box.notify("history", "--event", "job_failed", check=0).stdout


@pytest.mark.parametrize("words", [("--home", "", "status"), ("status", "--home", " "), ("init", "--syftbox-root", "")])
def test_empty_path_is_refused(box: Box, words: tuple[str, ...]) -> None:
    """D8: it would be the current folder."""
    assert "expected a path, got an empty text" in box.notify(*words, check=2).stderr


@pytest.mark.parametrize("words", [("--home", "HERE", "status", "--json"), ("status", "--json", "--home", "HERE")])
def test_the_home_may_be_named_before_and_after_the_command(box: Box, tmp_path: Path, words: tuple[str, ...]) -> None:
    """S15: and both win over SYFTNOTIFY_HOME."""
    elsewhere = str(tmp_path / "elsewhere")

    done = box.notify(*(elsewhere if word == "HERE" else word for word in words), check=3)

    assert one_object(done.stdout)["home"] == elsewhere


def test_the_home_is_the_variable_and_else_below_the_home_folder(person: Box, box: Box, creds: Path) -> None:
    """S15."""
    assert one_object(person.notify("status", "--json").stdout)["home"] == str(creds)
    assert one_object(box.notify("status", "--json").stdout)["home"] == str(box.home.root)


@pytest.mark.parametrize("words", [("frobnicate",), ("status", "--frob"), ("logs", "-n", "many"), ()])
def test_what_is_no_command_is_exit_two_with_a_hint(person: Box, words: tuple[str, ...]) -> None:
    """S16."""
    done = person.notify(*words, check=2)

    assert "Usage:" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


# -- init ------------------------------------------------------------------------------------------------------------


def test_flags_alone_set_everything_up_and_a_test_mail_proves_it(person: Box, creds: Path, tmp_path: Path) -> None:
    """S15, S16."""
    (tmp_path / "box").mkdir()

    person.notify(
        *("init", "--email", OWNER, "--syftbox-root", str(tmp_path / "box"), "--no-notify-jobs", "--notify-peers"),
        *("--interval", "12", "--transport", "maildir"),
        check=0,
    )

    config = config_in(creds)
    assert (config["do_email"], config["syftbox_root"]) == (OWNER, str(tmp_path / "box"))
    assert config["notify"] == {"interval": 12, "monitor_jobs": False, "monitor_peers": True}
    assert [mail.told for mail in mails_in(creds / "mail")] == [("test", "owner", OWNER)]
    assert creds.stat().st_mode & 0o777 == 0o700
    assert (creds / "config.yaml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("given", ["user@", "user:p%40ss@", ""])
def test_a_mail_server_is_set_up_and_its_password_is_nowhere_in_plain_text(
    person: Box, creds: Path, given: str
) -> None:
    """G11, N03: whether it stands in the address, or is read."""
    users = {"user": "p@ss"} if given else {}
    with serving(users=users) as server:
        url = f"smtp://{given}127.0.0.1:{server.port}"
        words = ("init", "--email", OWNER, "--smtp-url", url, "--role", "scientist")
        done = person.notify(*words, check=0, typed="p@ss\n")

        (mail,) = server.committed
        assert (mail.to, mail.event, mail.user) == (OWNER, "test", "user" if given else "")
        assert "through mail" in done.stdout
    config = config_in(creds)
    assert config["role"] == "scientist"
    assert config["transports"]["mail"]["smtp_url"] == ("secret:smtp" if given else url)
    for path in creds.rglob("*"):
        assert not path.is_file() or b"p@ss" not in path.read_bytes()


def test_a_mail_server_that_cannot_be_is_refused(person: Box, creds: Path) -> None:
    for words, says in (
        (("--transport", "smtp"), "--smtp-url smtp://"),
        (("--smtp-url", "mail.example"), "expected an address such as"),
        (("--smtp-url", "smtp://user@mail.example"), "the password of user is missing"),
    ):
        done = person.notify("init", "--email", OWNER, *words, check=2)
        assert says in " ".join(done.stderr.split())
    assert not (creds / "config.yaml").exists()


def test_another_mail_server_takes_the_place_of_the_first(person: Box, creds: Path) -> None:
    for port in (2525, 2526):
        words = ("--smtp-url", f"smtp://127.0.0.1:{port}", "--no-test")
        person.notify("init", "--email", OWNER, *words, check=0)
    assert config_in(creds)["transports"] == {"mail": {"type": "smtp", "smtp_url": "smtp://127.0.0.1:2526"}}


def test_init_smtp_url_after_maildir_sends_by_smtp(person: Box, creds: Path) -> None:
    """D5: the README's own next step; comments and other settings stay."""
    person.notify("init", "--email", OWNER, "--transport", "maildir", "--no-test", check=0)
    config = creds / "config.yaml"
    config.write_text(config.read_text() + "# mine\nrecipients: {allow: ['*@uni.example']}  # all of them\n")

    with serving() as server:
        done = person.notify("init", "--smtp-url", f"smtp://127.0.0.1:{server.port}", check=0)
        (mail,) = server.committed

    assert mail.event == "test"
    assert "mail goes out through transport `mail` (smtp)" in done.stdout
    assert config_in(creds)["transports"] == {"mail": {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{server.port}"}}
    assert "# mine" in config.read_text()
    assert "# all of them" in config.read_text()


TEAM = "  team: {type: slack, url: 'https://hooks.slack.example/x'}  # the team\n"


@pytest.mark.parametrize(
    ("before", "words", "after", "mailer"),
    [
        ("  mail: {type: gmail}\n", ("--smtp-url", "URL"), {"mail": {"type": "smtp", "smtp_url": "URL"}}, "mail"),
        (
            "  g: {type: gmail, token: t.json, subject_prefix: x}\n",
            ("--smtp-url", "URL"),
            {"g": {"type": "smtp", "subject_prefix": "x", "smtp_url": "URL"}},
            "g",
        ),
        (
            "  box: {type: maildir, path: off-site}\n",
            ("--smtp-url", "URL"),
            {"box": {"type": "maildir", "path": "off-site"}, "mail": {"type": "smtp", "smtp_url": "URL"}},
            "mail",
        ),
        (
            "  office: {type: smtp, host: relay.example, port: 465, user: a, password: b, from: a@b.example}\n",
            ("--smtp-url", "URL"),
            {"office": {"type": "smtp", "from": "a@b.example", "smtp_url": "URL"}},
            "office",
        ),
        (
            "  mail: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n",
            ("--transport", "gmail"),
            {"mail": {"type": "smtp", "smtp_url": "smtp://127.0.0.1:1"}, "gmail": {"type": "gmail"}},
            "gmail",
        ),
        (
            "  mail: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n",
            ("--transport", "maildir"),
            {"mail": {"type": "maildir"}},
            "mail",
        ),
        ("  box: {type: maildir}\n", ("--transport", "maildir"), {"box": {"type": "maildir"}}, "box"),
        ("", ("--smtp-url", "URL"), {"mail": {"type": "smtp", "smtp_url": "URL"}}, "mail"),
    ],
)
def test_init_changes_the_mail_transport_and_keeps_the_rest(
    box: Box, before: str, words: tuple[str, ...], after: dict[str, Any], mailer: str
) -> None:
    """D5: routes refer to transports by name, and still hold."""
    url = "smtp://127.0.0.1:2525"
    name = before.split(":", maxsplit=1)[0].strip()
    routes = f"routes+: [{{via: {name}, to: owner}}, {{via: team}}]\n" if name else "routes+: [{via: team}]\n"
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\ntransports:\n{before}{TEAM}{routes}")
    text = box.home.config.read_text()

    done = box.notify("init", "--no-test", *(url if word == "URL" else word for word in words))

    assert done.returncode in {0, 5}, done.stderr
    settings = load(box.home)
    assert settings.default_mail_transport == mailer
    expected = {key: {k: url if v == "URL" else v for k, v in section.items()} for key, section in after.items()}
    found = yaml.safe_load(box.home.config.read_text())["transports"]
    assert found == {**expected, "team": {"type": "slack", "url": "https://hooks.slack.example/x"}}
    assert "# the team" in box.home.config.read_text()
    if "token" in before:
        assert "removed from `g`: token" in done.stdout
        assert (box.home.root / "config.yaml.old").read_text() == text


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("routes: [{via: gmail, to: owner}]\n", "routes[0].via: there is no transport 'gmail'"),
        (
            "transports: {a: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}, b: {type: gmail, token: x}}\n",
            "mail would still go out through transport `a`",
        ),
    ],
)
def test_init_that_cannot_change_the_transport_changes_nothing(box: Box, before: str, error: str) -> None:
    """D5: and names no option that nobody typed."""
    text = f"do_email: {OWNER}\nsyftbox_root: {box.root}\n{before}"
    box.home.config.write_text(text)

    done = box.notify("init", "--no-test", "--smtp-url", "smtp://127.0.0.1:2525", check=2)

    assert error in " ".join(done.stderr.split())
    assert "nothing was changed" in done.stderr
    assert "--transport" not in done.stderr
    assert box.home.config.read_text() == text


def test_init_keeps_the_secret_of_another_transport(box: Box) -> None:
    """D5: `secret:smtp` may be another server's."""
    sections = "  relay: {type: smtp, smtp_url: 'smtp://127.0.0.1:1'}\n  other: {type: smtp, smtp_url: 'secret:smtp'}\n"
    box.home.config.write_text(f"do_email: {OWNER}\nsyftbox_root: {box.root}\ntransports:\n{sections}")
    box.notify("secret", "set", "smtp", typed="smtp://127.0.0.1:2\n", check=0)

    box.notify("init", "--no-test", "--smtp-url", "smtp://a:b@127.0.0.1:3", check=0)

    servers = {
        name: section.model_dump()["smtp_url"]["port"] for name, section in load(box.home).config.transports.items()
    }
    assert servers == {"relay": 3, "other": 2}


def test_init_with_contradicting_options_is_refused(person: Box, creds: Path) -> None:
    """D5"""
    words = ("--email", OWNER, "--transport", "maildir", "--smtp-url", "smtp://127.0.0.1:1")

    assert "--smtp-url contradicts --transport maildir" in person.notify("init", *words, check=2).stderr
    assert not (creds / "config.yaml").exists()


@pytest.mark.parametrize("root", ["FILE", "FILE/below"])
def test_init_with_a_file_as_root_is_refused(person: Box, creds: Path, tmp_path: Path, root: str) -> None:
    """D6"""
    (tmp_path / "file").write_text("")
    words = ("--email", OWNER, "--transport", "maildir", "--syftbox-root", root.replace("FILE", str(tmp_path / "file")))

    assert f"--syftbox-root: {tmp_path}/file is not a folder" in person.notify("init", *words, check=2).stderr
    assert not (creds / "config.yaml").exists()


@pytest.mark.parametrize("value", ["0", "soon", "nan", "-1", "86401", "2d", "30x"])
def test_init_with_a_wrong_interval_names_the_option(person: Box, value: str) -> None:
    """D6"""
    done = person.notify("init", "--email", OWNER, "--interval", value, check=2)

    assert "'--interval': expected 1 to 86400 seconds" in " ".join(done.stderr.split())
    assert "config.yaml" not in done.stderr


@pytest.mark.parametrize(("value", "written"), [("12", 12), ("12.5", 12.5), ("30s", "30s"), ("5m", "5m")])
def test_init_interval_takes_seconds_or_a_duration(box: Box, value: str, written: float | str) -> None:
    """D8"""
    box.notify("init", "--interval", value, "--no-test", check=0)

    assert yaml.safe_load(box.home.config.read_text())["notify"]["interval"] == written


@pytest.mark.parametrize(("contact", "is_warned"), [(BO, True), ("https://ping.example/abc", False)])
def test_init_explains_an_alert_contact_that_needs_more(person: Box, contact: str, is_warned: bool) -> None:
    """B5: an address needs a second mail transport."""
    words = ("--email", OWNER, "--transport", "maildir", "--no-test", "--alert-contact", contact)
    done = person.notify("init", *words, check=0)

    assert ("pass a ping URL" in " ".join(done.stderr.split())) is is_warned


def test_init_with_a_second_mail_transport_needs_no_explanation(box: Box) -> None:
    """B5"""
    box.configure({"transports": {"a": {"type": "maildir"}, "b": {"type": "maildir", "path": "other"}}})

    assert "ping URL" not in box.notify("init", "--alert-contact", BO, "--no-test", check=0).stderr


@pytest.mark.parametrize("name", [f"SyftBox_{OWNER}", "SyftBox"])
def test_the_syftbox_folder_is_found(person: Box, creds: Path, tmp_path: Path, name: str) -> None:
    """S15."""
    (tmp_path / name).mkdir()

    done = person.notify("init", "--email", OWNER, "--no-test", check=5)

    assert str(tmp_path / name) in done.stdout
    assert config_in(creds)["syftbox_root"] == str(tmp_path / name)


def test_without_a_sign_in_init_says_what_to_do_next(person: Box, creds: Path) -> None:
    """S15, D6: with an exit code of its own."""
    done = person.notify("init", "--email", OWNER, check=5)

    assert "Not signed in yet" in done.stdout
    assert "notify init --credentials" in done.stdout
    assert "`notify start` fails (exit code 2)" in done.stdout
    assert "sent a test mail" not in done.stdout
    assert person.notify("start").returncode == 2


def test_without_a_terminal_nothing_is_asked(person: Box, creds: Path) -> None:
    """S16."""
    done = person.notify("init", check=2)

    assert "--email" in done.stderr
    assert not (creds / "config.yaml").exists()


HAND_MADE = f"""\
# my own words
do_email: "{OWNER}"   # that is me
syftbox_root: ~/box

notify:
  # not so often
  interval: 45   # seconds
  monitor_jobs: true

recipients:
  allow:
    - '*@uni.example'   # the whole faculty
transports:
  box: {{type: maildir, path: off-site}}
"""


def test_flags_change_only_the_keys_that_they_name(person: Box, creds: Path) -> None:
    """S15: comments and everything else stay, value for value."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE)

    person.notify("init", "--interval", "20", "--no-notify-peers", "--no-test", check=0)

    expected = yaml.safe_load(HAND_MADE)
    expected["notify"] |= {"interval": 20, "monitor_peers": False}
    assert config_in(creds) == expected
    written = (creds / "config.yaml").read_text()
    comments = ("# my own words", "# that is me", "# not so often", "# seconds", "# the whole faculty")
    assert all(comment in written for comment in comments)


@pytest.mark.parametrize("word", ["off", "on", "1_000", "12:30"])
def test_a_quoted_word_stays_a_word(person: Box, creds: Path, word: str) -> None:
    """S15: what is written without its quotes is read back as a flag or as a number."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE.replace("off-site", f'"{word}"'))

    person.notify("init", "--interval", "20", "--no-test", check=0)

    assert config_in(creds)["transports"]["box"]["path"] == word


def test_a_file_that_init_wrote_changes_in_one_line_alone(person: Box, creds: Path) -> None:
    """S15: so that a version control system shows what was said."""
    person.notify("init", "--email", OWNER, "--transport", "maildir", "--no-test", check=0)
    before = (creds / "config.yaml").read_text().splitlines()

    person.notify("init", "--no-notify-jobs", "--no-test", check=0)

    after = (creds / "config.yaml").read_text().splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("  monitor_jobs: true", "  monitor_jobs: false")
    ]


def test_flags_that_name_nothing_leave_the_file_alone(person: Box, creds: Path) -> None:
    """S15."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE)

    done = person.notify("init", "--no-test", check=0)

    assert "unchanged" in done.stdout
    assert (creds / "config.yaml").read_text() == HAND_MADE


def test_force_starts_over_and_keeps_the_old_file_aside(person: Box, creds: Path) -> None:
    """S16."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE)

    person.notify("init", "--force", "--email", BO, "--transport", "maildir", "--no-test", check=0)

    config = config_in(creds)
    assert config["do_email"] == BO
    assert "recipients" not in config
    assert config["notify"]["interval"] == 30
    assert (creds / "config.yaml.old").read_text() == HAND_MADE
    assert (creds / "config.yaml.old").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--email", "nobody"),
        ("--interval", "0"),
        ("--interval", "soon"),
        ("--interval", "nan"),
        ("--transport", "pigeon"),
        ("--alert-contact", "http://elsewhere.example/"),
        ("--force", "--email", OWNER, "--interval", "-1"),
        ("--force",),
    ],
    ids=" ".join,
)
def test_a_value_that_does_not_hold_leaves_the_old_file(person: Box, creds: Path, flags: tuple[str, ...]) -> None:
    """S15."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE)

    done = person.notify("init", "--no-test", *flags, check=2)

    assert "Traceback" not in done.stderr
    assert (creds / "config.yaml").read_text() == HAND_MADE


def test_a_value_that_does_not_hold_leaves_no_new_file(person: Box, creds: Path) -> None:
    """S15."""
    person.notify("init", "--email", OWNER, "--interval", "0", check=2)

    assert not (creds / "config.yaml").exists()


@pytest.mark.parametrize("content", [b"do_email: j\xf6rg@uni.example\n", b"notify: [\n", b"- a list\n"])
def test_a_config_that_is_no_config_is_left_alone(person: Box, creds: Path, content: bytes) -> None:
    """S15."""
    creds.mkdir()
    (creds / "config.yaml").write_bytes(content)

    done = person.notify("init", "--interval", "20", "--no-test", check=2)

    assert "Traceback" not in done.stderr
    assert (creds / "config.yaml").read_bytes() == content


# -- init, asked in a terminal ---------------------------------------------------------------------------------------


class Terminal:
    """`notify init` in a real terminal, and somebody who types."""

    def __init__(self, box: Box, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "syftnotify", *words],
            env={**box.environment(), "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""
        self._read = 0

    def answer(self, question: str, words: str) -> None:
        """Wait for `question`, which must come after the last one, and type `words`."""
        self._wait_for(question)
        self._read = self.seen.index(question, self._read) + len(question)
        os.write(self._master, words.encode() + b"\n")

    def interrupt(self, question: str) -> None:
        """Wait for `question`, and press Ctrl-C; again if it came just before the read and was lost to it."""
        self._wait_for(question)
        for _ in range(10):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return

    def end(self) -> int:
        """Read to the end; the exit code."""
        self._wait_for(None)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _wait_for(self, text: str | None) -> None:
        until = time.monotonic() + PATIENCE
        while text is None or text not in self.seen[self._read :]:
            assert time.monotonic() < until, f"no {text!r} in:\n{self.seen}"
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(self._master, 4096)
            except OSError:  # Linux says so when the other side is closed
                piece = b""
            if not piece:
                assert text is None, f"no {text!r} in:\n{self.seen}"
                return
            self.seen += piece.decode().replace("\r\n", "\n")


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    found: list[Terminal] = []
    yield found
    for terminal in found:
        terminal.close()


@pytest.mark.parametrize(
    ("second", "written"),
    [
        ("", {}),
        (BO, {"operators": [BO]}),
        ("https://ping.example/abc", {"heartbeat": {"ping_url": "https://ping.example/abc"}}),
    ],
)
def test_in_a_terminal_init_asks_for_the_little_it_needs(
    person: Box, creds: Path, tmp_path: Path, terminals: list[Terminal], second: str, written: dict[str, Any]
) -> None:
    """S15, S16."""
    terminals.append(terminal := Terminal(person, "init"))

    terminal.answer("mail address", OWNER)
    (tmp_path / "file").write_text("")
    terminal.answer(f"[{tmp_path}/SyftBox_{OWNER}]", str(tmp_path / "file"))
    terminal.answer("SyftBox folder", str(tmp_path / "box"))
    terminal.answer("Mail transport", "maildir")
    terminal.answer("Alert contact", second)

    assert terminal.end() == 0, terminal.seen
    config = config_in(creds)
    assert (config["do_email"], config["syftbox_root"]) == (OWNER, str(tmp_path / "box"))
    assert {key: config[key] for key in ("operators", "heartbeat") if key in config} == written
    assert "notify start" in terminal.seen
    assert [mail.told for mail in mails_in(creds / "mail")] == [("test", "owner", OWNER)]


def test_what_flags_have_said_is_not_asked(person: Box, terminals: list[Terminal], tmp_path: Path) -> None:
    """S16."""
    words = ("--email", OWNER, "--syftbox-root", str(tmp_path), "--transport", "maildir", "--alert-contact", BO)
    terminals.append(terminal := Terminal(person, "init", *words))

    assert terminal.end() == 0, terminal.seen
    assert "?" not in terminal.seen


def test_a_configuration_that_is_there_is_not_asked_about(person: Box, creds: Path, terminals: list[Terminal]) -> None:
    """S16."""
    creds.mkdir()
    (creds / "config.yaml").write_text(HAND_MADE)
    terminals.append(terminal := Terminal(person, "init", "--interval", "20", "--no-test"))

    assert terminal.end() == 0, terminal.seen
    assert config_in(creds)["notify"]["interval"] == 20


def test_a_person_who_leaves_in_the_middle_has_changed_nothing(
    person: Box, creds: Path, terminals: list[Terminal]
) -> None:
    """S16."""
    terminals.append(terminal := Terminal(person, "init"))

    terminal.answer("mail address", OWNER)
    terminal.answer("SyftBox folder", "")
    terminal.interrupt("Mail transport")

    assert terminal.end() != 0
    assert "Traceback" not in terminal.seen
    assert not (creds / "config.yaml").exists()


# -- run -------------------------------------------------------------------------------------------------------------


def test_one_look_delivers_what_is_due_and_ends(box: Box, tree: Tree) -> None:
    """B07, G20: without `scheduler_online`, since no worker has come to stay."""
    box.notify("run", "--once", check=0)
    tree.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert sorted(mail.told for mail in box.mails()) == [
        ("job_submitted", "owner", OWNER),
        ("job_submitted", "submitter", ANA),
    ]
    assert "1 new event" in done.stdout
    assert "scheduler_online" not in box.home.log.read_text()
    assert not worker_lock.is_held(box.home)
    box.notify("run", "--once", check=0)
    assert len(box.mails()) == 2


def test_one_look_is_exit_zero_even_when_nothing_could_be_sent(box: Box, tree: Tree) -> None:
    """B07."""
    (box.folder / "file").write_text("")
    box.configure({"transports": {"box": {"type": "maildir", "path": str(box.folder / "file" / "mail")}}})
    tree.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert "1 waiting" in done.stdout


def test_one_look_is_refused_while_a_worker_runs(box: Box) -> None:
    """B07."""
    with worker_lock.acquire(box.home):
        done = box.notify("run", "--once", check=3)

    assert f"pid {os.getpid()}" in done.stderr


def test_one_look_with_a_broken_config_is_exit_two(box: Box) -> None:
    """B07, S15."""
    box.home.config.write_text("do_email: [\n")

    assert "line 2" in box.notify("run", "--once", check=2).stderr


def test_one_look_switched_off_sends_nothing(box: Box, tree: Tree) -> None:
    """G01."""
    box.configure({"notify": {"enabled": False}})
    tree.submit(ANA, "survey", "print(1)\n")

    done = box.notify("run", "--once", check=0)

    assert "nothing is sent" in done.stderr
    assert box.mails() == []


@pytest.mark.parametrize("looked", [True, False], ids=["after a look", "before the first look"])
def test_a_rehearsal_names_what_would_be_sent_and_changes_nothing(box: Box, tree: Tree, looked: bool) -> None:
    """B07."""
    if looked:
        box.notify("run", "--once", check=0)
    tree.submit(ANA, "survey", "print(1)\n")
    before = fingerprints(box.folder)
    box.env["COLUMNS"] = "200"

    done = box.notify("run", "--dry-run", check=0)

    assert fingerprints(box.folder) == before
    assert "job_submitted" in done.stdout
    assert OWNER in done.stdout
    assert (f" {ANA} " in done.stdout) == looked
    assert ("2 messages would be sent" if looked else "1 message would be sent") in done.stdout


def test_a_rehearsal_says_when_there_is_no_tree_to_look_at(box: Box) -> None:
    """B07, B08."""
    box.root.rmdir()

    done = box.notify("run", "--dry-run", check=0)

    assert "does not exist yet" in done.stdout + done.stderr


def test_the_foreground_worker_ends_on_ctrl_c(box: Box, tree: Tree) -> None:
    """B07."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "syftnotify", "run"],
        env=box.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: worker_status.read(box.home).last_scan_s, what="a look")
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0, words
    assert "started" in words
    assert "Traceback" not in words


# -- the configuration -----------------------------------------------------------------------------------------------


ME = "do_email: a@b.example\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("do_emial: a@b.example\n", ["do_emial: unknown key; did you mean `do_email`?", "do_email: missing"]),
        (
            f"{ME}notify:\n  interval: soon\n",
            ["notify.interval: expected a number from 1 to 86400 (seconds), got 'soon'"],
        ),
        (f"{ME}notify:\n  interval: 5\n  interval: 6\n", ["notify.interval: duplicate key"]),
        (f"{ME}transports:\n  mail: {{type: gmial}}\n", ["transports.mail.type", "did you mean `gmail`?"]),
        (f"{ME}transports:\n  mail: {{type: gmail, tokn: x}}\n", ["mail.tokn: unknown key; did you mean `token`?"]),
        (f"{ME}notify: 5\n", ["notify: expected keys with values"]),
        (f"{ME}7: x\n", ["the name `7`", "quotes"]),
        (f"{ME}notify:\n\tinterval: 5\n", ["line 3"]),
        ("just words\n", ["expected keys with values"]),
    ],
)
def test_a_mistake_is_told_by_its_path_with_the_nearest_key(box: Box, content: str, words: list[str]) -> None:
    """S15."""
    box.home.config.write_text(content)

    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.exit_code == 2


SYFT_BG: dict[str, Any] = {
    "do_email": OWNER,
    "credentials_path": "/home/owner/.syft-bg/credentials.json",
    "gmail_token_path": None,
    "drive_token_path": None,
    "notify": {
        "do_email": OWNER,
        "drive_token_path": None,
        "gmail_token_path": "/home/owner/.syft-bg/gmail_token.json",
        "credentials_path": None,
        "notify_state_path": None,
        "interval": 30,
        "monitor_jobs": True,
        "monitor_peers": True,
        "heartbeat_enabled": True,
        "heartbeat_interval": 86400,
    },
    "approve": {"enabled": True, "auto_approvals": None},
    "email_approve": {"enabled": False},
    "sync": {"interval": 10},
}


def test_a_config_of_syft_bg_is_accepted_and_what_is_not_ours_is_named(box: Box) -> None:
    """S15."""
    config = {**SYFT_BG, "syftbox_root": str(box.root), "transports": {"box": {"type": "maildir"}}}
    config["notify"] = {**SYFT_BG["notify"], "syftbox_root": str(box.root), "sync_state_path": str(box.snapshot)}
    box.home.config.write_text(yaml.safe_dump(config))

    done = box.notify("run", "--once", check=0)

    assert all(word in done.stderr for word in ("approve", "email_approve", "sync", "notify.heartbeat_enabled"))
    assert "ignored settings" in done.stderr
    assert yaml.safe_load(box.home.config.read_text()) == config


# -- status ----------------------------------------------------------------------------------------------------------

DAMAGED = [
    b"",
    b"[]",
    b"\xff\xfe\x00",
    b'{"last_scan": 5}',
    b'{"last_scan_s": "yesterday"}',
    b'{"transports": []}',
    b'{"sent": NaN}',
    b'{"interval": null, "failures": {"scan": "many"}, "home": 7, "last_error": {}}',
]


@pytest.mark.parametrize("held", [True, False], ids=["running", "not running"])
@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_report_still_gives_one_object(box: Box, content: bytes, held: bool) -> None:
    """S16: and the exit code of the truth, which is the lock."""
    box.home.worker_status.write_bytes(content)

    if held:
        with worker_lock.acquire(box.home):
            done = box.notify("status", "--json")
    else:
        done = box.notify("status", "--json")

    assert done.returncode in ({0, 4} if held else {3}), done.stderr
    status = one_object(done.stdout)
    assert status["running"] is held
    assert status["pid"] == (os.getpid() if held else None)
    assert status["home"] == str(box.home.root)


@pytest.mark.parametrize("content", [b'{"last_scan": 5}', b'{"transports": []}', b'{"transports": {"box": "fine"}}'])
def test_a_damaged_report_is_no_traceback_for_a_person(box: Box, content: bytes) -> None:
    """S16."""
    box.home.worker_status.write_bytes(content)

    done = box.notify("status", check=3)

    assert "not running" in done.stdout
    assert "Traceback" not in done.stderr


def test_status_without_a_configuration_names_init(person: Box) -> None:
    """D9"""
    assert "run `notify init`" in " ".join(person.notify("status", check=3).stdout.split())


@pytest.mark.parametrize("command", ["history", "why x", "dead-letters", "dead"])
def test_there_are_no_notifications_before_the_first_start(box: Box, command: str) -> None:
    """D9"""
    assert box.notify(*command.split(), check=0).stdout.startswith("no notifications yet")
    assert box.notify(*command.split(), "--json", check=0).stdout == "[]\n"


def test_there_are_no_alert_rules_before_the_first_start(box: Box) -> None:
    """D9"""
    assert "no alert rules" in box.notify("alerts", "list", check=0).stdout
    assert "nothing to send again" in box.notify("resend", "--all-dead", check=0).stdout
    assert "0 events" in box.notify("prune", "--older-than", "3d", check=0).stdout
    assert "no alert rule" in box.notify("alerts", "rm", "x", check=1).stderr


def test_an_unknown_kind_lists_the_known_ones(box: Box) -> None:
    """D9"""
    done = box.notify("emit", "job_faild", "--entity", "x", check=2)

    assert "did you mean `job_failed`?" in done.stderr
    assert "gpu_available" in done.stderr


@pytest.mark.parametrize("config", [None, "do_email: [\n", "do_email: nobody\n"])
def test_status_needs_no_good_configuration(box: Box, config: str | None) -> None:
    """S16."""
    if config is None:
        box.home.config.unlink()
    else:
        box.home.config.write_text(config)

    status = one_object(box.notify("status", "--json", check=3).stdout)

    assert (status["running"], status["pid"], status["last_scan"]) == (False, None, {"at": None, "seconds": None})


def test_a_worker_that_has_gone_is_not_waited_with(box: Box) -> None:
    """S16: nobody waits for a missing folder, and no transport can send, when nothing runs."""
    worker_status.write(box.home, worker_status.WorkerStatus(waiting_for="the SyftBox folder /x does not exist yet"))

    done = box.notify("status", check=3)

    assert "does not exist yet" not in done.stdout
