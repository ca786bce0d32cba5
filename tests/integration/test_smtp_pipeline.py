"""From the tree to a mail server: delivery, unknown outcomes, refusals, secrets."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from syftnotify.services.demo import Tree
from tests.fakes.mailserver import (
    HOST,
    PASSWORD,
    SECRET,
    USER,
    Authority,
    MailServer,
    close_connection,
    reply,
    reply_with_password,
    send_garbage,
    serve_mail,
)
from tests.integration.transports.smtp_clients import STARTTLS, UNENCRYPTED
from tests.queries import outbox_counts
from tests.support import ANA, OWNER, Box, tally, wait_until


def smtp_tree(box: Box, server: MailServer, *, form: str = UNENCRYPTED, **more: Any) -> Tree:
    """Configure `box` to send through `server`, scan once, and return its tree, which has one peer."""
    url = form.format(place=f"{HOST}:{server.port}", user=USER, password=PASSWORD)
    box.configure({"transports": {"mail": {"type": "smtp", "smtp_url": url, **more}}})
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    box.scan()
    return tree


def test_smtp_job_is_sent_to_owner_and_submitter(box: Box, ca: Authority) -> None:
    """S01, G12"""
    with serve_mail(ca.context(), users={USER: PASSWORD}) as server:
        tree = smtp_tree(box, server, form=STARTTLS, ca_file=str(ca.file), **{"from": "Site <no@x.org>"})
        tree.submit(ANA, "survey", "print(1)\n")
        box.scan()
        box.scan()

        wait_until(lambda: not server.connections, what="a scan leaves no connection open")
    sent = {(mail.event, mail.to, mail.sender) for mail in server.committed}
    assert sent == {("job_submitted", OWNER, "no@x.org"), ("job_submitted", ANA, "no@x.org")}
    assert outbox_counts(box) == tally(sent=2)


@pytest.mark.parametrize("step", ["AUTH", "MAIL"])
def test_smtp_auth_failure_pauses_and_drops_nothing(box: Box, step: str) -> None:
    """X07"""
    with serve_mail(users={USER: PASSWORD}) as server:
        tree = smtp_tree(box, server)
        server.default[step] = reply("535 5.7.8 signed out")
        tree.submit(ANA, "survey", "print(1)\n")
        app = box.open_app()
        try:
            app.run_once(None)
            assert "535" in app.dispatcher.queues["mail"].health.pause_reason
            assert outbox_counts(box) == tally(waiting=2)
            server.clear_faults()
            box.clock.advance(301)
            app.run_once(box.clock.now)
            assert not app.dispatcher.queues["mail"].health.pause_reason
        finally:
            app.close()

    assert outbox_counts(box) == tally(sent=2)


@pytest.mark.thorough
def test_smtp_password_is_in_no_log_and_no_file(box: Box, ca: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """N03"""
    caplog.set_level(logging.DEBUG)
    faults = [
        ("AUTH", reply_with_password),
        ("AUTH", reply("454 4.7.0 later")),
        ("MAIL", reply("530 5.7.0 sign in")),
        ("RCPT", send_garbage),
        ("dot", close_connection),
    ]
    with serve_mail(ca.context(), users={USER: PASSWORD}) as server:
        tree = smtp_tree(box, server, form=STARTTLS, ca_file=str(ca.file))
        tree.submit(ANA, "survey", "print(1)\n")
        for step, act in faults:
            server.clear_faults()
            server.default[step] = act
            box.clock.advance(3600)
            box.scan()
        assert server.attempts > 0

    assert SECRET not in caplog.text
    assert "FAILED_TRANSPORT" in caplog.text
    for file in box.home.root.rglob("*"):
        if file.is_file() and file != box.home.config:
            assert SECRET.encode() not in file.read_bytes(), file
