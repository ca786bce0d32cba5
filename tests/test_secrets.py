"""Where a secret may lie, that it arrives where it is used, and that it is shown nowhere else."""

from __future__ import annotations

import base64
import codecs
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from standardwebhooks import Webhook as Verifier

import syftnotify
from syftnotify.config.edit import edit
from syftnotify.config.load import Settings
from syftnotify.config.secrets import encrypt
from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.system import worker_lock, worker_status
from syftnotify.transports.smtp.settings import SmtpSettings
from syftnotify.transports.webhook.settings import WebhookSettings
from tests.fakes import mailserver
from tests.fakes.mailserver import HOST, PASSWORD, USER, MailServer
from tests.fakes.web import Answer, Web, says, web
from tests.support import ANA, OWNER, Box, processes, wait_until
from tests.test_cli import Terminal, terminals  # noqa: F401 - a fixture
from tests.trees import TREES, Disk

SIGNING = "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhlLWhvb2s="
BEARER = "bearer-of-the-hook"
# What would tell somebody who finds it anywhere how to get in; the first two stand in the path of each `Web`.
WORDS = ["T000", "secret-path", SIGNING, SIGNING.removeprefix("whsec_"), BEARER, PASSWORD]


@pytest.fixture
def office() -> Iterator[MailServer]:
    """A mail server that lets nobody write who has not signed in."""
    with mailserver.serving(users={USER: PASSWORD}) as server:
        yield server


def keep(box: Box, name: str, value: str, *, check: int = 0) -> subprocess.CompletedProcess[str]:
    """`notify secret set`, from a pipe."""
    return box.notify("secret", "set", name, typed=f"{value}\n", check=check)


def put(box: Box, name: str, value: str) -> None:
    """The same, in this process."""
    edit(box.home, {("secrets", name): encrypt(value, box.home)})


def hide(box: Box, how: str, name: str, value: str) -> str:
    """What stands for `value` in the configuration, when it is kept `how`."""
    if how == "env":
        box.env[name.upper()] = value
        return f"env:{name.upper()}"
    if how == "file":
        (box.home.root / name).write_text(f"{value}\n")
        return f"file:{name}"
    return f"secret:{name}"


def places(hook: Web, office: MailServer) -> dict[str, str]:
    """Every setting that is a secret, by a name for it."""
    return {
        "team_url": hook.url,
        "hook_url": hook.url,
        "hook_secret": SIGNING,
        "hook_header": f"Bearer {BEARER}",
        "smtp_url": f"smtp://{USER}:{PASSWORD}@{HOST}:{office.port}",
        "smtp_password": PASSWORD,
        "ping_url": hook.url.replace("services", "ping"),
    }


def configured(box: Box, office: MailServer, values: dict[str, str], **changes: Any) -> None:
    """A configuration that has `values` in those places."""
    box.configure(
        {
            "transports": {
                "box": {"type": "maildir"},
                "office": {"type": "smtp", "smtp_url": values["smtp_url"]},
                "relay": {
                    "type": "smtp",
                    "host": HOST,
                    "port": office.port,
                    "user": USER,
                    "password": values["smtp_password"],
                },
                "team": {"type": "slack", "url": values["team_url"]},
                "oncall": {
                    "type": "webhook",
                    "url": values["hook_url"],
                    "secret": values["hook_secret"],
                    "headers": {"Authorization": values["hook_header"], "X-Team": "data"},
                },
            },
            "heartbeat": {"ping_url": values["ping_url"]},
            **changes,
        }
    )
    box.home.config.chmod(0o600)


def files_of(box: Box) -> dict[str, str]:
    """Whatever lies in the home but the configuration and its key."""
    apart = {box.home.config, box.home.root / "secret.key"}
    paths = [path for path in box.home.root.rglob("*") if path.is_file() and path not in apart]
    return {path.name: path.read_bytes().decode("latin-1") for path in paths}


def assert_silent(texts: Iterable[str], words: Iterable[str] = WORDS) -> None:
    together = "\n".join(texts)
    assert [word for word in words if word in together] == []


# -- where it may lie --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["env", "file", "secret"])
def test_a_secret_arrives_wherever_it_is_kept(box: Box, hook: Web, office: MailServer, how: str) -> None:
    """N03: in every setting that may be one."""
    box.home.create()
    values = places(hook, office)
    configured(box, office, {name: hide(box, how, name, value) for name, value in values.items()})
    if how == "secret":
        for name, value in values.items():
            put(box, name, value)
        keep(box, "hook_secret", values["hook_secret"])
    box.notify("test", check=0)
    box.notify("run", "--once", check=0)

    pings = [request for request in hook.requests if request.line.startswith("GET ")]
    slack, webhook = sorted(
        (request for request in hook.requests if request.line.startswith("POST ")),
        key=lambda request: "webhook-id" in request.headers,
    )
    assert slack.line.split()[1] == webhook.line.split()[1] == "/services/T000/secret-path"
    assert [ping.line.split()[1] for ping in pings] == ["/ping/T000/secret-path"]
    assert webhook.headers["authorization"] == f"Bearer {BEARER}"
    assert Verifier(SIGNING).verify(webhook.body, webhook.headers)["event"] == "test"
    assert [mail.user for mail in office.committed] == [USER, USER]
    assert_silent([yaml.safe_dump(yaml.safe_load(box.home.config.read_text()))])


def test_a_file_is_found_in_the_home_or_by_its_whole_path(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(box.folder))
    (box.home.root / "sub").mkdir()
    for place, path in (("sub/word", box.home.root / "sub" / "word"), ("~/word", box.folder / "word")):
        path.write_text("  pass word \n\n")
        box.configure({"transports": {"relay": smtp(password=f"file:{place}")}})
        assert password_of(load(box.home)) == "pass word"
    box.configure({"transports": {"relay": smtp(password=f"file:{box.folder}/word")}})
    assert password_of(load(box.home)) == "pass word"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("WORD=pass=word", "pass=word"),
        ("  WORD = pass word \r", "pass word"),
        ('WORD="pass word "', "pass word "),
        ("WORD='it\"s'", 'it"s'),
        ('WORD=a"b"c', 'a"b"c'),
        ("# WORD=no\n;WORD=no\n\nWORDS=no\nnothing\nWORD=old\nWORD=žluť", "žluť"),
    ],
)
def test_what_is_not_exported_is_read_as_systemd_reads_it(
    box: Box, monkeypatch: pytest.MonkeyPatch, line: str, value: str
) -> None:
    """B07: a command says what systemd's worker will find."""
    monkeypatch.delenv("WORD", raising=False)
    box.configure({"transports": {"relay": smtp(password="env:WORD")}})
    box.home.environment.write_bytes(f"FIRST=1\n{line}\n".encode())

    assert password_of(load(box.home)) == value
    monkeypatch.setenv("WORD", "exported")
    assert password_of(load(box.home)) == "exported"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "environment variable NOT_HERE is not set;"),
        (b"NOT_HERE=\n", "environment variable NOT_HERE is not set;"),
        (b"\xff", "environment cannot be read: not UTF-8 text"),
    ],
)
def test_a_variable_that_is_nowhere_is_asked_for_by_both_its_places(box: Box, content: bytes, told: str) -> None:
    box.configure({"transports": {"relay": smtp(password="env:NOT_HERE")}})
    box.home.environment.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(box.home)
    assert told in str(caught.value)
    assert str(box.home.environment) in str(caught.value)


def test_commands_find_what_only_systemd_was_told(box: Box, hook: Web) -> None:
    """B07"""
    box.configure({"transports": {"box": {"type": "maildir"}, "team": {"type": "slack", "url": "env:TEAM_URL"}}})
    box.home.environment.write_text(f"# for systemd\nTEAM_URL='{hook.url}'\n")
    box.notify("test", "team", check=0)

    assert len(hook.requests) == 1


def test_a_byte_order_mark_before_a_secret_is_no_part_of_it(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """D4: in the environment file, and in a file of its own."""
    monkeypatch.delenv("WORD", raising=False)
    box.home.environment.write_bytes(codecs.BOM_UTF8 + b"WORD=first\r\n")
    (box.home.root / "word").write_bytes(codecs.BOM_UTF8 + b"second\r\n")
    for reference, value in (("env:WORD", "first"), ("file:word", "second")):
        box.configure({"transports": {"relay": smtp(password=reference)}})
        assert password_of(load(box.home)) == value


def smtp(**more: Any) -> dict[str, Any]:
    return {"type": "smtp", "host": HOST, "user": USER, **more}


def password_of(settings: Settings) -> str:
    section = settings.mail_settings
    assert isinstance(section, SmtpSettings)
    assert section.type == "smtp"
    return section.smtp_url.password


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "smtp", "host": "env:VALUE"},
        {"type": "maildir", "path": "env:VALUE"},
        {"type": "maildir", "subject_prefix": "env:VALUE"},
        {"type": "slack", "url": "https://hooks.example/x", "username": "env:VALUE"},
    ],
)
def test_any_setting_of_a_transport_may_lie_elsewhere(
    box: Box, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setenv("VALUE", "elsewhere")
    box.configure({"transports": {"one": settings}, "routes": [{"via": "one"}]})

    assert "elsewhere" in repr(load(box.home).config.transports["one"])


@pytest.mark.parametrize("word", ["secret", "env", "file"])
def test_a_word_that_only_begins_like_a_reference_is_a_word(box: Box, word: str) -> None:
    box.configure({"transports": {"relay": smtp(password=word, subject_prefix=word)}})

    assert password_of(load(box.home)) == word


def test_a_job_names_transports_and_no_address(box: Box, hook: Web) -> None:
    """N30: a scientist cannot make the owner's machine call an address, and needs to know none."""
    oncall = {"type": "webhook", "url": hook.url}
    box.configure(
        {
            "transports": {"box": {"type": "maildir"}, "oncall": oncall},
            "recipients": {"allow": ["*"]},
            "routes": [{"events": ["job_held"]}],
        }
    )
    tree = TREES["D"](Disk(box.root, box.clock.time))
    tree.grant(ANA)
    box.look()
    with web() as elsewhere:
        alerts = {"recipients": ["oncall", elsewhere.url, "secret:hook", "env:HOME"]}
        tree.submit("survey", ANA, config={"headers": {"alerts": alerts}})
        tree.approve("survey", ANA)
        tree.run("survey", ANA, code=1)
        box.clock.advance(60)
        box.look()
        assert elsewhere.requests == []

    assert [request.json["event"] for request in hook.requests] == ["job_failed"]
    assert str(Path.home()) not in box.notify("why", "survey", check=0).stdout


# -- notify secret set -------------------------------------------------------------------------------------------------

HAND_MADE = f"""\
# my own words
do_email: {OWNER}   # that is me
transports:
  box: {{type: maildir}}
  # who is on duty
  oncall: {{type: webhook, url: 'https://hooks.example/x', secret: 'secret:hook'}}   # every night
"""


def written(box: Box, text: str = HAND_MADE) -> Path:
    box.home.create()
    box.home.config.write_text(text)
    return box.home.config


def secret_of(box: Box) -> str:
    section = load(box.home).config.transports["oncall"]
    assert isinstance(section, WebhookSettings)
    assert section.secret is not None
    return section.secret.get_secret_value()


def test_the_configuration_holds_no_plain_text_and_keeps_its_comments(box: Box) -> None:
    """N03"""
    config = written(box)
    done = keep(box, "hook", SIGNING)

    text = config.read_text()
    assert SIGNING not in text
    assert all(comment in text for comment in ("# my own words", "# that is me", "# who is on duty", "# every night"))
    before = yaml.safe_load(HAND_MADE)
    after = yaml.safe_load(text)
    assert list(after.pop("secrets")) == ["hook"]
    assert after == before
    assert secret_of(box) == SIGNING
    assert "secret:hook" in done.stdout
    assert_silent([done.stdout, done.stderr])
    for path in (config, box.home.root / "secret.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_copy_of_the_configuration_alone_gives_nothing_away(box: Box, tmp_path: Path) -> None:
    written(box)
    put(box, "hook", SIGNING)
    copy = Box(tmp_path / "copy")
    written(copy, box.home.config.read_text())

    with pytest.raises(ConfigError, match=r"transports\.oncall\.secret: the key file .* cannot be read"):
        load(copy.home)


def test_set_again_it_is_replaced_and_the_others_stay(box: Box) -> None:
    written(box)
    put(box, "other", "another")
    put(box, "hook", "the old one")
    old = yaml.safe_load(box.home.config.read_text())["secrets"]
    key = (box.home.root / "secret.key").read_bytes()
    keep(box, "hook", "the new one")
    new = yaml.safe_load(box.home.config.read_text())["secrets"]

    assert secret_of(box) == "the new one"
    assert new.keys() == old.keys()
    assert new["other"] == old["other"]
    assert old["hook"] not in box.home.config.read_text()
    assert (box.home.root / "secret.key").read_bytes() == key


@pytest.mark.parametrize("value", ["a: b # c", "žluť ☃", "'\"\\", "  blanks  ", "-", "x" * 5000])
def test_any_text_of_one_line_can_be_kept(box: Box, value: str) -> None:
    written(box)
    put(box, "hook", value)

    assert secret_of(box) == value


@pytest.mark.parametrize("name", ["mail.pass-word", "my hook", "ключ", "on", "123", "null", "a:b", "#x", "'"])
def test_any_name_will_do(box: Box, name: str) -> None:
    written(box, HAND_MADE.replace("'secret:hook'", json.dumps(f"secret:{name}", ensure_ascii=False)))
    put(box, name, SIGNING)

    assert secret_of(box) == SIGNING


def test_it_is_typed_in_a_terminal_without_being_shown(
    box: Box,
    terminals: list[Terminal],  # noqa: F811 - the fixture
) -> None:
    """N03"""
    written(box)
    terminals.append(terminal := Terminal(box, "secret", "set", "hook"))
    terminal.answer("secret: ", SIGNING)

    assert terminal.end() == 0, terminal.seen
    assert secret_of(box) == SIGNING
    assert_silent([terminal.seen])


def test_who_leaves_the_terminal_has_changed_nothing(
    box: Box,
    terminals: list[Terminal],  # noqa: F811 - the fixture
) -> None:
    written(box)
    terminals.append(terminal := Terminal(box, "secret", "set", "hook"))
    terminal.interrupt("secret: ")

    assert terminal.end() != 0
    assert "Traceback" not in terminal.seen
    assert box.home.config.read_text() == HAND_MADE


def test_nothing_typed_is_nothing_kept(box: Box) -> None:
    written(box)
    done = keep(box, "hook", "", check=1)

    assert "nothing was stored" in done.stderr
    assert box.home.config.read_text() == HAND_MADE


@pytest.mark.parametrize("text", [None, "- a list\n", "do_email: [\n"])
def test_without_a_configuration_there_is_no_place_for_it(box: Box, text: str | None) -> None:
    if text is None:
        box.home.config.unlink()
    else:
        written(box, text)
    code = 1 if text is None else 2
    done = keep(box, "hook", SIGNING, check=code)

    assert str(box.home.config) in done.stderr
    assert "Traceback" not in done.stderr
    assert_silent([done.stderr])
    assert (box.home.config.read_text() if box.home.config.exists() else None) == text


# -- what can be wrong -------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_by_its_path_and_with_what_to_do(box: Box, hook: Web, office: MailServer) -> None:
    """N03: exit code 2."""
    (box.home.root / "folder").mkdir()
    (box.home.root / "binary").write_bytes(b"\xff\xfe\x00")
    values = {
        "team_url": "env:NOT_THERE",
        "hook_url": "file:nowhere",
        "hook_secret": "file:folder",
        "hook_header": "file:binary",
        "smtp_url": "secret:unknown",
        "smtp_password": "secret:gone",
        "ping_url": "env:NOT_THERE_EITHER",
    }
    configured(box, office, values)
    done = box.notify("run", "--once", check=2)

    assert "Traceback" not in done.stderr
    expected = {
        "transports.team.url": ["NOT_THERE", "notify start"],
        "transports.oncall.url": [str(box.home.root / "nowhere"), "No such file"],
        "transports.oncall.secret": ["folder", "Is a directory"],
        "transports.oncall.headers.Authorization": ["binary", "save it as UTF-8"],
        "transports.office.smtp_url": ["notify secret set unknown"],
        "transports.relay.password": ["notify secret set gone"],
        "heartbeat.ping_url": ["NOT_THERE_EITHER", "notify start"],
    }
    for path, words in expected.items():
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"  {path}: ")]
        assert all(word in line for word in words)
    assert str(box.home.config) in done.stderr


def test_a_file_of_nobody_is_a_mistake_like_any_other(box: Box) -> None:
    box.configure({"transports": {"relay": smtp(password="file:~nobody-of-that-name/word")}})

    with pytest.raises(ConfigError, match=r"transports\.relay\.password"):
        load(box.home)


def test_a_file_that_is_empty_is_no_password(box: Box) -> None:
    """It would sign in with none, or not at all."""
    (box.home.root / "word").write_text("\n")
    box.configure({"transports": {"relay": smtp(password="file:word")}})

    with pytest.raises(ConfigError, match=r"transports\.relay\.password"):
        load(box.home)


def lose_key(box: Box, how: str) -> None:
    key = box.home.root / "secret.key"
    key.unlink()
    if how == "another":
        key.write_bytes(Fernet.generate_key())
    elif how == "garbage":
        key.write_text("not a key")
    elif how == "empty":
        key.touch()
    elif how == "a folder":
        key.mkdir()


@pytest.mark.parametrize("how", ["gone", "another", "garbage", "empty", "a folder"])
def test_a_key_that_does_not_fit_is_told_and_the_advice_can_be_followed(box: Box, how: str) -> None:
    written(box)
    put(box, "hook", "the old one")
    lose_key(box, how)
    with pytest.raises(ConfigError, match=r"transports\.oncall\.secret: the key") as caught:
        load(box.home)
    assert str(box.home.root / "secret.key") in str(caught.value)
    if how == "a folder":  # nobody can put a key there
        done = keep(box, "hook", "the new one", check=1)
        assert "Traceback" not in done.stderr
        assert "secret.key" in done.stderr
        return
    keep(box, "hook", "the new one")
    assert secret_of(box) == "the new one"


@pytest.mark.parametrize("word", ["gAAAAABn", "plain text", "ž", ""])
def test_what_no_key_made_is_told_by_its_path(box: Box, word: str) -> None:
    encrypt("x", box.home)
    written(box, f"{HAND_MADE}secrets: {{hook: {json.dumps(word)}}}\n")

    with pytest.raises(ConfigError, match=r"oncall\.secret: ") as caught:
        load(box.home)
    assert not word or word not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        ("timeout_secs", "short-word"),
        ("timeout_secs", "longer-" * 30),
        ("username", "first-line\nsecond-line"),
        ("default_recipient", "quoted'\"text"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown_by_the_mistake(box: Box, place: str, secret: str) -> None:
    (box.home.root / "word").write_text(secret)
    team = {"type": "slack", "url": "https://hooks.example/x", place: "file:word"}
    box.configure({"transports": {"box": {"type": "maildir"}, "team": team}})
    with pytest.raises(ConfigError) as caught:
        load(box.home)

    assert_silent([str(caught.value)], [secret[:6]])


def test_a_value_from_elsewhere_blots_out_no_path(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a word that the mistake is told with: a user called `notify`."""
    monkeypatch.setenv("SMTP_USER", "notify")
    box.configure({"transports": {"relay": smtp(user="env:SMTP_USER")}, "notify": {"interval": "soon"}})

    with pytest.raises(ConfigError, match=r"notify\.interval: expected a number from 1 to 86400 \(seconds\)"):
        load(box.home)


def test_no_mistake_shows_a_secret_that_stands_in_plain_text(box: Box) -> None:
    """N03"""
    sections: list[Any] = [
        {"type": "slack", "url": "http://hooks.example/services/T000/secret-path"},
        {"type": "slack", "url": ["https://hooks.example/T000/secret-path"]},
        {"type": "webhook", "url": "ftp://hooks.example/T000/secret-path"},
        {"type": "webhook", "url": "https://hooks.example/T000/secret-path\nx"},
        {"type": "webhook", "url": "https://hooks.example/x", "secret": [SIGNING]},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": {"Authorization": [BEARER]}},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": [f"Authorization: {BEARER}"]},
        {"type": "webhook", "url": "https://hooks.example/x", "headers": f"Authorization: {BEARER}"},
        {"type": "smtp", "smtp_url": f"smtp://{USER}:{PASSWORD}@mail.example:99999"},
        {"type": "smtp", "smtp_url": f"smtp://{USER}:{PASSWORD}@mail.example?tls=off"},
        {"type": "smtp", "smtp_url": {"password": PASSWORD}},
        {"type": "smtp", "host": f"{USER}:{PASSWORD}@mail.example"},
        {"type": "smtp", "host": "mail.example", "password": [PASSWORD]},
        {"type": "smtp", "host": "mail.example", "pasword": PASSWORD},
        f"smtp://{USER}:{PASSWORD}@mail.example",
        "https://hooks.example/T000/secret-path",
    ]
    transports = {f"t{number}": section for number, section in enumerate(sections)}
    ping = {"ping_url": "http://ping.example/T000/secret-path"}
    box.configure({"transports": {"box": {"type": "maildir"}, **transports}, "heartbeat": ping})

    with pytest.raises(ConfigError) as caught:
        load(box.home)
    told = str(caught.value)
    assert [name for name in transports if f"transports.{name}" not in told] == []
    assert "heartbeat.ping_url" in told
    assert_silent([told])


# -- plain text --------------------------------------------------------------------------------------------------------


def test_plain_text_works_with_one_warning_that_names_the_keys_alone(box: Box, hook: Web, office: MailServer) -> None:
    """N03"""
    configured(box, office, places(hook, office))
    once, check = box.notify("run", "--once", check=0), box.notify("doctor")
    test = box.notify("test", "oncall", check=0)

    (line,) = [line for line in once.stderr.splitlines() if "plain text" in line]
    keys = ["team.url", "oncall.secret", "oncall.headers.Authorization", "office.smtp_url", "relay.password"]
    assert all(f"transports.{key}" in line for key in keys)
    assert "X-Team" not in line
    assert "notify secret set" in line
    assert check.stdout.count("plain text") == 1
    assert_silent([once.stderr, once.stdout, check.stdout, check.stderr, test.stdout, test.stderr])


def test_what_lies_elsewhere_needs_no_warning(box: Box, hook: Web, office: MailServer) -> None:
    values = places(hook, office)
    configured(box, office, {name: hide(box, "file", name, value) for name, value in values.items()})

    assert not [warning for warning in load(box.home).warnings if "plain text" in warning]


# -- that it is shown nowhere ------------------------------------------------------------------------------------------

QUERY, BASIC = "token-in-the-query", "password-in-the-address"
EVERYWHERE = [*WORDS, QUERY, BASIC, base64.b64encode(f"me:{BASIC}".encode()).decode()]


def repeating(hook: Web, status: int, *, query: bool = False) -> Answer:
    """Answers with what it was sent; `query` alone in its own words."""

    def answer(connection: socket.socket) -> None:
        request = hook.requests[-1]
        heard = [request.headers[name] for name in ("authorization", "webhook-signature") if name in request.headers]
        target = request.line.split()[1]
        text = f"no {target.partition('=')[2]} here" if query else " ".join([target, *heard])
        says(status, text)(connection)

    return answer


@pytest.fixture
def hostile(box: Box) -> Iterator[Box]:
    """Each kind of transport, with its secrets; whoever is behind it repeats what it hears."""
    with contextlib.ExitStack() as stack:
        hooks = {name: stack.enter_context(web()) for name in ("team", "oncall", "query", "basic", "ping")}
        for name, hook in hooks.items():
            hook.usual = repeating(hook, 404, query=name == "query")
        rude = stack.enter_context(mailserver.serving(users={USER: PASSWORD}))
        rude.usual["RCPT"] = mailserver.says(f"550 5.1.1 {PASSWORD} knows nobody of that name")
        gate = stack.enter_context(mailserver.serving(users={USER: PASSWORD}))
        gate.usual["AUTH"] = mailserver.repeats_what_it_heard
        urls = {name: hook.url for name, hook in hooks.items()}
        urls["query"] = f"http://{HOST}:{hooks['query'].url.split(':')[2].split('/')[0]}/send?token={QUERY}"
        urls["basic"] = urls["basic"].replace("http://", f"http://me:{BASIC}@")
        for name, url in urls.items():
            box.env[name.upper()] = url
        box.env |= {"SIGNING": SIGNING, "BEARER": f"Bearer {BEARER}", "WORD": PASSWORD}
        box.env["GATE"] = f"smtp://{USER}:{PASSWORD}@{HOST}:{gate.port}"
        box.configure(
            {
                "notify": {"interval": 1},
                "transports": {
                    "rude": {**smtp(port=rude.port, password="env:WORD"), "events": ["job_failed"]},
                    "gate": {"type": "smtp", "smtp_url": "env:GATE", "to": ANA, "events": ["job_failed"]},
                    "team": {"type": "slack", "url": "env:TEAM", "events": ["job_failed"]},
                    "oncall": {
                        "type": "webhook",
                        "url": "env:ONCALL",
                        "secret": "env:SIGNING",
                        "headers": {"Authorization": "env:BEARER"},
                        "events": ["job_failed"],
                    },
                    "query": {"type": "webhook", "url": "env:QUERY", "events": ["job_failed"]},
                    "basic": {"type": "webhook", "url": "env:BASIC", "events": ["job_failed"]},
                },
                "routes": [],
                "heartbeat": {"ping_url": "env:PING"},
            }
        )
        yield box


def test_no_command_and_no_file_shows_a_secret_that_others_repeat(hostile: Box) -> None:
    """N03, G25: neither a part of an address but its host."""
    box = hostile
    syftnotify.emit("job_failed", "run/1", home=box.home.root)
    said = [box.notify("start", check=0)]
    try:
        wait_until(lambda: worker_status.read(box.home).dead >= 5, what="five dead letters")
        wait_until(
            lambda: worker_status.read(box.home).transports["gate"]["problem"], what="a sign-in that was refused"
        )
        commands = [
            *(["status"], ["status", "--json"], ["doctor"], ["history"], ["history", "--json"]),
            *(["why", "run/1"], ["dead"], ["dead", "--json"], ["test"], ["logs", "-n", "500"]),
        ]
        said += [box.notify(*words) for words in commands]
    finally:
        said.append(box.notify("stop", check=0))

    outputs = [text for done in said for text in (done.stdout, done.stderr)]
    together = " ".join(outputs)
    assert all(word in together for word in ("404", "550", "535", HOST)), "the failures themselves are told"
    assert_silent(outputs, EVERYWHERE)
    files = files_of(box)
    assert {"worker.json", "state.json", "notify.log", "outbox.db"} <= files.keys()
    assert_silent(files.values(), EVERYWHERE)


def test_a_process_list_shows_no_secret(hostile: Box) -> None:
    hostile.notify("start", check=0)
    try:
        pid = worker_lock.holder_pid(hostile.home)
        (shown,) = [each.command for each in processes() if each.pid == pid]
    finally:
        hostile.notify("stop", check=0)

    assert "syftnotify" in shown
    assert_silent([shown], EVERYWHERE)


def test_a_worker_that_may_not_start_shows_none_either(hostile: Box) -> None:
    config = yaml.safe_load(hostile.home.config.read_text())
    config["transports"]["oncall"]["tokn"] = "x"
    hostile.home.config.write_text(yaml.safe_dump(config))
    done = hostile.notify("start", check=2)

    assert "transports.oncall.tokn" in done.stderr
    assert_silent([done.stdout, done.stderr, *files_of(hostile).values()], EVERYWHERE)
    assert not os.path.lexists(hostile.home.outbox)
