"""Secrets are not shown by commands, files, process lists or terminals."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
import yaml

import syftnotify
from syftnotify.system import worker_lock, worker_status
from tests.fakes import mailserver
from tests.fakes.mailserver import HOST, PASSWORD, USER
from tests.fakes.web import Responder, WebServer, respond, serve_web
from tests.secrets_setup import (
    BEARER,
    HAND_MADE,
    SECRETS,
    SIGNING,
    assert_absent,
    other_files,
    secret_of,
    smtp_section,
    write_config,
)
from tests.support import ANA, Box, processes, wait_until
from tests.terminal import OpenTerminal

# Secrets that must appear nowhere; the first two are part of the path of each `Web`.


def test_secret_set_in_terminal_does_not_echo(
    box: Box,
    open_terminal: OpenTerminal,
) -> None:
    """N03"""
    write_config(box)
    terminal = open_terminal(box, "secret", "set", "hook")
    terminal.answer("secret: ", SIGNING)

    assert terminal.wait() == 0, terminal.output
    assert secret_of(box) == SIGNING
    assert_absent([terminal.output])


@pytest.mark.thorough
def test_secret_set_in_terminal_interrupted_changes_nothing(
    box: Box,
    open_terminal: OpenTerminal,
) -> None:
    write_config(box)
    terminal = open_terminal(box, "secret", "set", "hook")
    terminal.interrupt("secret: ")

    assert terminal.wait() != 0
    assert "Traceback" not in terminal.output
    assert box.home.config.read_text() == HAND_MADE


QUERY, BASIC = "token-in-the-query", "password-in-the-address"


EVERYWHERE = [*SECRETS, QUERY, BASIC, base64.b64encode(f"me:{BASIC}".encode()).decode()]


def repeating(hook: WebServer, status: int, *, query: bool = False) -> Responder:
    """Echo the request; with `query` only its value."""

    def answer(connection: socket.socket) -> None:
        request = hook.requests[-1]
        heard = [request.headers[name] for name in ("authorization", "webhook-signature") if name in request.headers]
        target = request.line.split()[1]
        text = f"no {target.partition('=')[2]} here" if query else " ".join([target, *heard])
        respond(status, text)(connection)

    return answer


@pytest.fixture
def echoing_box(box: Box, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """Each kind of transport, with its secrets; each server echoes what it receives."""
    with contextlib.ExitStack() as stack:
        hooks = {name: stack.enter_context(serve_web()) for name in ("team", "oncall", "query", "basic", "ping")}
        for name, hook in hooks.items():
            hook.default = repeating(hook, 404, query=name == "query")
        rude = stack.enter_context(mailserver.serve_mail(users={USER: PASSWORD}))
        rude.default["RCPT"] = mailserver.reply(f"550 5.1.1 {PASSWORD} knows nobody of that name")
        gate = stack.enter_context(mailserver.serve_mail(users={USER: PASSWORD}))
        gate.default["AUTH"] = mailserver.reply_with_password
        urls = {name: hook.url for name, hook in hooks.items()}
        urls["query"] = f"http://{HOST}:{hooks['query'].url.split(':')[2].split('/')[0]}/send?token={QUERY}"
        urls["basic"] = urls["basic"].replace("http://", f"http://me:{BASIC}@")
        for name, url in urls.items():
            monkeypatch.setenv(name.upper(), url)
        for name, value in {"SIGNING": SIGNING, "BEARER": f"Bearer {BEARER}", "WORD": PASSWORD}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GATE", f"smtp://{USER}:{PASSWORD}@{HOST}:{gate.port}")
        box.configure(
            {
                "notify": {"interval": 1},
                "transports": {
                    "rude": {**smtp_section(port=rude.port, password="env:WORD"), "events": ["job_failed"]},
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


def test_no_command_file_or_process_list_shows_an_echoed_secret(echoing_box: Box) -> None:
    """N03, G25: nor a part of a URL other than its host."""
    box = echoing_box
    syftnotify.emit("job_failed", "run/1", home=box.home.root)
    completed = [box.notify("start", check=0)]
    try:
        wait_until(lambda: worker_status.read(box.home).dead >= 5, what="five dead letters")
        wait_until(
            lambda: worker_status.read(box.home).transports["gate"]["problem"], what="a sign-in that was refused"
        )
        pid = worker_lock.holder_pid(box.home)
        (command_line,) = [each.command for each in processes() if each.pid == pid]
        commands = [
            *(["status"], ["status", "--json"], ["doctor"], ["history"], ["history", "--json"]),
            *(["why", "run/1"], ["dead"], ["dead", "--json"], ["test"], ["logs", "-n", "500"]),
        ]
        completed += [box.notify(*arguments) for arguments in commands]
    finally:
        completed.append(box.notify("stop", check=0))

    assert "syftnotify" in command_line
    outputs = [command_line, *(text for done in completed for text in (done.stdout, done.stderr))]
    together = " ".join(outputs)
    assert all(text in together for text in ("404", "550", "535", HOST)), "the failures themselves are reported"
    assert_absent(outputs, EVERYWHERE)
    files = other_files(box)
    assert {"worker.json", "state.json", "notify.log", "outbox.db"} <= files.keys()
    assert_absent(files.values(), EVERYWHERE)


@pytest.mark.thorough
def test_start_with_config_error_shows_no_secret(echoing_box: Box) -> None:
    config = yaml.safe_load(echoing_box.home.config.read_text())
    config["transports"]["oncall"]["tokn"] = "x"
    echoing_box.home.config.write_text(yaml.safe_dump(config))
    done = echoing_box.notify("start", check=2)

    assert "transports.oncall.tokn" in done.stderr
    assert_absent([done.stdout, done.stderr, *other_files(echoing_box).values()], EVERYWHERE)
    assert not os.path.lexists(echoing_box.home.outbox)
