"""Kept SMTP connections: reuse, replacement, closing, timeouts."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from syftnotify.core.errors import Failure
from syftnotify.transports.smtp.sending import SmtpTransport
from tests.fakes.mailserver import (
    HOST,
    PASSWORD,
    USER,
    Action,
    Authority,
    MailServer,
    close_connection,
    drip,
    hang,
    ids,
    reply,
    reply_and_close,
    reset_connection,
    send_garbage,
    serve_mail,
    serve_raw,
)
from tests.integration.transports.smtp_clients import (
    ENCRYPTED,
    LARGE,
    STARTTLS,
    UNENCRYPTED,
    SmtpClients,
    failed,
    failed_in_time,
)
from tests.mail_message import HELLO
from tests.parameters import thorough_except
from tests.support import TIMEOUT, wait_until


def test_smtp_batch_uses_one_connection_and_one_authentication(ca: Authority, smtp: SmtpClients) -> None:
    with serve_mail(ca.context(), users={USER: PASSWORD}) as mail_server:
        transport = smtp.to(mail_server, form=STARTTLS, ca_file=str(ca.file))
        for number in range(20):
            transport.send(replace(HELLO, id=f"mail-{number}"))

    assert ids(mail_server.committed) == [f"mail-{number}" for number in range(20)]
    assert len(mail_server.commands_by_connection) == 1
    assert sum(command.startswith("AUTH") for command in mail_server.commands) == 1


def test_smtp_kept_connection_sends_small_packets_at_once(mail_server: MailServer, smtp: SmtpClients) -> None:
    """F2: otherwise each side waits 40 ms for the other's packet (Nagle's algorithm, delayed ACK)."""
    transport = smtp.to(mail_server)
    transport.send(HELLO)

    assert isinstance(transport, SmtpTransport)
    ((session, _),) = transport._idle
    assert session.sock is not None
    assert session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_smtp_connection_that_died_is_replaced_without_a_duplicate(mail_server: MailServer, smtp: SmtpClients) -> None:
    """X03: between two mails a server closes what is idle."""
    transport = smtp.to(mail_server)
    for number in range(3):
        transport.send(replace(HELLO, id=f"mail-{number}"))
        mail_server.drop_connections()

    assert ids(mail_server.committed) == ["mail-0", "mail-1", "mail-2"]
    assert (mail_server.attempts, len(mail_server.commands_by_connection)) == (3, 3)


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(reply_and_close("421 4.4.2 idle for too long"), id="421-and-closes"),
        pytest.param(reply("421 4.4.2 idle for too long"), id="421"),
        pytest.param(reply("503 5.5.1 no"), id="503"),
        pytest.param(close_connection, id="closes"),
        pytest.param(reset_connection, id="resets"),
        pytest.param(send_garbage, id="garbage"),
    ],
)
def test_smtp_connection_rejected_at_rset_is_replaced(mail_server: MailServer, smtp: SmtpClients, act: Action) -> None:
    """X03"""
    transport = smtp.to(mail_server)
    transport.send(replace(HELLO, id="first"))
    mail_server.once("RSET", act)
    transport.send(replace(HELLO, id="second"))

    assert ids(mail_server.committed) == ["first", "second"]
    assert (mail_server.attempts, len(mail_server.commands_by_connection)) == (2, 2)
    wait_until(lambda: len(mail_server.connections) == 1, what="the old connection is let go")


def test_smtp_connection_rejected_at_mail_is_one_attempt(mail_server: MailServer, smtp: SmtpClients) -> None:
    """X03: the mail is not begun again within the attempt."""
    transport = smtp.to(mail_server)
    transport.send(HELLO)
    mail_server.once("MAIL", reply_and_close("421 4.7.0 too many mails on one connection"))

    assert failed(transport).failure is Failure.TEMPORARY
    assert mail_server.attempts == 2
    transport.send(replace(HELLO, id="later"))
    assert ids(mail_server.committed) == [HELLO.id, "later"]


def test_smtp_server_that_restarts_is_reached_again(smtp: SmtpClients) -> None:
    with serve_mail() as old:
        transport = smtp.to(old)
        transport.send(replace(HELLO, id="before"))
    assert failed(transport).failure is Failure.UNREACHABLE
    with serve_mail(port=old.port) as new:
        transport.send(replace(HELLO, id="after"))

    assert (ids(old.committed), ids(new.committed)) == (["before"], ["after"])


def test_smtp_close_leaves_no_connection_open(ca: Authority, smtp: SmtpClients) -> None:
    with serve_mail(ca.context(), starttls=False) as mail_server:
        transport = smtp.to(mail_server, form="smtps://{place}", ca_file=str(ca.file))
        ready = threading.Barrier(4)

        def send(number: int) -> None:
            ready.wait(timeout=TIMEOUT)
            transport.send(replace(HELLO, id=f"mail-{number}"))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(4)))
        transport.close()

        wait_until(lambda: not mail_server.connections, what="no connection")
        transport.close()
        transport.send(replace(HELLO, id="after"))
        assert len(mail_server.committed) == 5, "it can be used again"


@pytest.mark.parametrize(
    ("step", "act"),
    [
        ("greeting", reply("554 5.7.1 no")),
        ("EHLO", reply("550 no")),
        ("AUTH", reply("535 no")),
        ("MAIL", reply("530 sign in")),
        ("MAIL", send_garbage),
        ("DATA", send_garbage),
        ("dot", send_garbage),
    ],
)
def test_smtp_connection_after_a_failure_is_closed(smtp: SmtpClients, step: str, act: Action) -> None:
    with serve_mail(users={USER: PASSWORD}) as mail_server:
        mail_server.default[step] = act
        failed(smtp.to(mail_server, form=UNENCRYPTED))

        wait_until(lambda: not mail_server.connections, what="no connection")


def test_smtp_8_threads_with_dead_connections_send_each_mail_once(mail_server: MailServer, smtp: SmtpClients) -> None:
    """X03"""
    transport = smtp.to(mail_server)
    ready = threading.Barrier(8)

    def send(part: int) -> None:
        ready.wait(timeout=TIMEOUT)
        for number in range(2):
            transport.send(replace(HELLO, id=f"mail-{part}-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
        mail_server.drop_connections()
        list(pool.map(send, range(8, 16)))

    assert set(Counter(ids(mail_server.committed)).values()) == {1}
    assert len(mail_server.committed) == mail_server.attempts == 32


def timeout_for(failure: Failure) -> int:
    """Seconds that a send may take. Longer where it must get to its last step within them, on a busy machine too."""
    return 8 if failure is Failure.UNKNOWN else 1


@pytest.mark.parametrize("form", [STARTTLS, ENCRYPTED])
@pytest.mark.parametrize(
    ("step", "failure"),
    [("MAIL", Failure.UNREACHABLE), pytest.param("dot", Failure.UNKNOWN, marks=pytest.mark.thorough)],
)
@pytest.mark.parametrize("act", thorough_except({"drips"}, {"hangs": hang, "drips": drip}))
def test_smtp_encrypted_send_ends_at_the_timeout(
    ca: Authority, smtp: SmtpClients, form: str, step: str, failure: Failure, act: Action
) -> None:
    """G09"""
    with serve_mail(ca.context(), starttls=form == STARTTLS, users={USER: PASSWORD}) as mail_server:
        mail_server.default[step] = act
        transport = smtp.to(mail_server, form=form, ca_file=str(ca.file), timeout_secs=timeout_for(failure))
        error = failed_in_time(transport)

    assert error.failure is failure


@pytest.mark.parametrize("act", thorough_except({"hangs"}, {"hangs": hang, "drips": drip}))
@pytest.mark.parametrize("encrypted", thorough_except({"encrypted"}, {"plain": False, "encrypted": True}))
def test_smtp_server_that_stops_reading_ends_at_the_timeout(
    ca: Authority, smtp: SmtpClients, act: Action, encrypted: bool
) -> None:
    """G09, X03: in the middle of a large mail; the final dot has not left."""
    tls = ca.context() if encrypted else None
    with serve_mail(tls, starttls=False, receive_buffer=4096) as mail_server:
        mail_server.default["body"] = act
        form = "smtps://{place}" if encrypted else "smtp://{place}"
        error = failed_in_time(smtp.to(mail_server, form=form, ca_file=str(ca.file), timeout_secs=3), LARGE)

    assert error.failure is Failure.UNREACHABLE
    assert mail_server.committed == []


def test_smtp_timeout_spans_greeting_and_handshake(ca: Authority, smtp: SmtpClients) -> None:
    """G09: slow to greet, slow to encrypt, and then a drip: each alone within its own limit."""

    def serve(connection: socket.socket) -> None:
        hole.stopped.wait(1.2)  # the greeting comes late
        connection.sendall(b"220 slow\r\n")
        connection.recv(1000)
        connection.sendall(b"250-slow\r\n250 STARTTLS\r\n")
        connection.recv(1000)
        connection.sendall(b"220 go on\r\n")
        hole.stopped.wait(1.4)  # and so does the handshake: 2.6 s of the 2 are gone
        with ca.context().wrap_socket(connection.dup(), server_side=True) as encrypted:
            encrypted.recv(1000)
            while not hole.stopped.wait(0.2):
                encrypted.sendall(b".")

    with serve_raw(serve) as hole:
        transport = smtp.at(f"smtp://{HOST}:{hole.port}?tls=required", ca_file=str(ca.file), timeout_secs=2)

        assert failed_in_time(transport).failure is Failure.UNREACHABLE


def test_smtp_timeout_spans_a_dead_connection_and_its_replacement(mail_server: MailServer, smtp: SmtpClients) -> None:
    """G09: the kept connection is silent until the end of the time, and a new one drips."""
    transport = smtp.to(mail_server, timeout_secs=5)
    transport.send(HELLO)
    mail_server.default.update({"RSET": hang, "greeting": drip})

    assert failed_in_time(transport).failure is Failure.UNREACHABLE
    assert mail_server.attempts == 1
