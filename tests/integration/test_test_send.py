"""`notify test` with a real server behind each transport."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator

import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.services.test_send import send_tests
from tests.all_transports import NAMES, AllTransports, serving_all
from tests.fakes import mailserver
from tests.fakes.web import respond
from tests.in_process import run_command
from tests.previews import parse_previews, write_template
from tests.queries import file_states
from tests.support import ANA, BO, OWNER, Box, mails_in

DESTINATIONS = {"box": "home/mail", "office": BO, "mail": OWNER, "team": "#jobs", "oncall": "oncall"}


@pytest.fixture
def servers(box: Box) -> Iterator[AllTransports]:
    with serving_all(box) as servers:
        yield servers


@pytest.mark.parametrize("name", NAMES)
def test_send_to_named_transport_sends_one_short_message(
    servers: AllTransports, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """N02, N04: and the destination is printed."""
    assert run_command(servers.box.home, "test", name) == 0
    gc.collect()  # an unclosed connection warns here, and not in another test

    assert servers.counts == {name: 1}
    assert len(servers.texts[name][0].splitlines()) <= 10
    assert "test" in servers.texts[name][0].lower()
    output = capsys.readouterr()
    (line,) = output.out.splitlines()
    assert name in line
    assert DESTINATIONS[name] in line
    assert output.err == ""


def test_send_without_name_tries_each_transport(servers: AllTransports) -> None:
    done = servers.box.notify("test", check=0)

    assert servers.counts == dict.fromkeys(NAMES, 1)
    assert len(done.stdout.splitlines()) == len(NAMES)


def test_send_failure_has_a_reason_and_others_are_tried(servers: AllTransports) -> None:
    """N02: exit code 1."""
    servers.oncall.default = respond(404, "no such hook")
    servers.team.default = respond(400, "invalid_payload")
    servers.office.default["RCPT"] = mailserver.reply("550 5.1.1 nobody of that name")
    servers.box.home.token.unlink()
    (servers.box.folder / "file").write_text("")
    nowhere = {"box": {"path": str(servers.box.folder / "file" / "mail")}}
    servers.configure(nowhere, **dict(zip(NAMES, NAMES, strict=True)), well="box")
    done = servers.box.notify("test", check=1)

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
    assert len(mails_in(servers.box.home.mail)) == 1


def test_send_to_unreachable_server_gives_the_reason(
    servers: AllTransports, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.office.stop()

    assert run_command(servers.box.home, "test", "office") == 1
    assert "could not be reached" in capsys.readouterr().err


def test_send_wrong_webhook_body_stops_no_other(servers: AllTransports) -> None:
    servers.configure({"oncall": {"format": "template", "body": "${nothing}"}}, oncall="oncall", well="box")
    done = servers.box.notify("test")

    assert done.returncode in {1, 2}
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert servers.counts == {"box": 1}


def test_send_template_error_stops_no_other(servers: AllTransports) -> None:
    write_template(servers.box, "test.txt", "Hello\n{% if job %}\n")
    servers.configure(box="box", oncall="oncall")
    done = servers.box.notify("test", check=1)

    assert "test.txt" in done.stderr
    assert "Traceback" not in done.stderr
    assert servers.counts == {"oncall": 1}


def test_send_unknown_transport_lists_the_known_ones(servers: AllTransports) -> None:
    done = servers.box.notify("test", "ofice", check=2)

    assert "'ofice'" in done.stderr
    assert all(name in done.stderr for name in NAMES)
    assert servers.counts == {}


@pytest.mark.parametrize(
    ("name", "recipient"),
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
def test_send_to_unsuitable_recipient_is_refused(servers: AllTransports, name: str, recipient: str) -> None:
    """N15"""
    with pytest.raises(ConfigError, match=name):
        list(send_tests(load(servers.box.home), name, recipient))

    assert servers.counts == {}


def test_send_to_option_overrides_the_recipient(servers: AllTransports, capsys: pytest.CaptureFixture[str]) -> None:
    servers.box.notify("test", "office", "--to", ANA, check=0)
    assert run_command(servers.box.home, "test", "team", "--to", "@ana") == 0
    assert "@ana" in capsys.readouterr().out

    (mail,) = servers.office.committed
    assert (mail.recipients, mail.to) == ((ANA,), ANA)
    assert [request.json["channel"] for request in servers.team.requests] == ["@ana"]


def test_send_to_option_does_not_depend_on_transport_order(servers: AllTransports) -> None:
    """A recipient without a transport: the order in the configuration must not matter."""
    outcomes = []
    for names in ({"a": "office", "b": "team"}, {"a": "team", "b": "office"}):
        servers.configure(**names)
        before = servers.counts
        code = servers.box.notify("test", "--to", ANA).returncode
        outcomes.append((code, {name: count - before.get(name, 0) for name, count in servers.counts.items()}))

    assert outcomes[0] == outcomes[1]


def test_send_with_config_error_sends_nothing(servers: AllTransports) -> None:
    servers.configure({"oncall": {"tokn": "x"}})

    assert "transports.oncall.tokn" in servers.box.notify("test", check=2).stderr
    assert servers.counts == {}


def test_send_changes_nothing_in_the_home(servers: AllTransports) -> None:
    before = file_states(servers.box.home.root)
    servers.box.notify("test", check=0)
    after = file_states(servers.box.home.root)

    # The access token that it asked Google for is kept, as at any sign-in.
    kept = {name: mark for name, mark in after.items() if not name.startswith("mail") and name != "gmail_token.json"}
    assert kept == {name: mark for name, mark in before.items() if name != "gmail_token.json"}


def without_time(text: str) -> str:
    return re.sub("^sent .*? through", "sent through", text.replace("\r\n", "\n").strip(), flags=re.MULTILINE)


def test_send_message_equals_its_preview(servers: AllTransports) -> None:
    servers.configure(office="box")  # the name of the sample
    servers.box.notify("test", "office", check=0)
    (mail,) = mails_in(servers.box.home.mail)
    shown = parse_previews(servers.box.notify("preview", "test", check=0).stdout)

    assert {key: (subject, without_time(text)) for key, (subject, text) in shown.items()} == {
        ("test", "owner"): (mail.subject, without_time(mail.text))
    }
