"""The Redis transport against Debian's redis-server, with real subscribers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from pydantic import ValidationError

from syftnotify.core.errors import DeliveryError, Failure
from syftnotify.core.models import Message
from syftnotify.services.settings import load
from syftnotify.services.test_send import send_test
from tests.fakes import redis_server
from tests.fakes.mailserver import HOST
from tests.fakes.redis_server import needs_redis, run_redis
from tests.support import ANA, BO, OWNER, Box, transport_for, transport_settings, wait_until
from tests.trees import TREES, Disk

HELLO = Message("m1", ANA, "JOB_FAILED", "it failed", body=b'{"kind": "JOB_FAILED"}')


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with run_redis(tmp_path) as found:
        yield found


class Subscriber:
    """A client that is subscribed to the channel of one person."""

    def __init__(self, port: int, user: str, **options: Any) -> None:
        self._channel = redis.Redis(HOST, port, decode_responses=True, **options).pubsub()  # type: ignore[no-untyped-call] # it has no types
        self._channel.subscribe(f"notifications:{user}")
        wait_until(lambda: (self._channel.get_message(timeout=1) or {}).get("type") == "subscribe")

    def next(self) -> dict[str, Any]:
        """The next message."""
        message = wait_until(lambda: self._channel.get_message(timeout=1), what="a message")
        found: dict[str, Any] = json.loads(message["data"])
        return found

    def has_more(self) -> bool:
        return self._channel.get_message(timeout=0.2) is not None


def send(url: str, **settings: Any) -> str:
    return transport_for(transport_settings({"type": "redis", "url": url, **settings})).send(HELLO).provider_id


def refusal(url: str, **settings: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(url, **settings)
    return caught.value


@contextmanager
def scanning(box: Box, port: int, **settings: Any) -> Iterator[None]:
    box.configure(
        {
            "transports": {"box": {"type": "maildir"}, "live": {"type": "redis", "url": f"redis://{HOST}:{port}"}},
            **settings,
        }
    )
    box.scan()
    yield
    box.clock.advance(60)
    box.scan()


@needs_redis
def test_all_subscribers_of_a_person_get_the_message_once(port: int) -> None:
    """C12"""
    subscribers = [Subscriber(port, ANA) for _ in range(3)]
    other = Subscriber(port, BO)

    assert send(f"redis://{HOST}:{port}") == "3 subscribed"
    assert [subscriber.next() for subscriber in subscribers] == [{"kind": "JOB_FAILED"}] * 3
    assert not any(subscriber.has_more() for subscriber in [*subscribers, other])


@needs_redis
def test_owner_and_submitter_get_what_their_inbox_stores(box: Box, port: int) -> None:
    """C13: {id, kind, payload, created_at}; the id is that of the notification in the inbox."""
    owner, submitter = Subscriber(port, OWNER), Subscriber(port, ANA)
    tree = TREES["D"](Disk(box.root, box.clock.time))
    with scanning(box, port, serve={}):
        tree.submit()
    app = box.open_app()
    stored = {user: app.outbox.inbox.after(0, 10, user).entries for user in (OWNER, ANA)}
    app.close()

    for user, subscriber in ((OWNER, owner), (ANA, submitter)):
        (entry,) = stored[user]
        message = subscriber.next()
        assert list(message) == ["id", "kind", "payload", "created_at"]
        assert (message["id"], message["kind"], message["payload"]) == (entry.id, "JOB_SUBMITTED", entry.payload)
        assert not subscriber.has_more()


@needs_redis
def test_events_select_what_is_published_instead(box: Box, port: int) -> None:
    """The setting `events` replaces the usual routes."""
    submitter = Subscriber(port, ANA)
    section = {"type": "redis", "url": f"redis://{HOST}:{port}", "events": ["job_rejected"], "to": ["submitter"]}
    tree = TREES["D"](Disk(box.root, box.clock.time))
    with scanning(box, port, transports={"box": {"type": "maildir"}, "live": section}):
        tree.submit()

    assert not submitter.has_more()


@needs_redis
def test_message_waits_while_the_server_is_away(box: Box, tmp_path: Path) -> None:
    """An outage loses nothing: what waits is published when the server is back."""
    with run_redis(tmp_path) as port:
        pass
    tree = TREES["D"](Disk(box.root, box.clock.time))
    with scanning(box, port):
        tree.submit()
    with run_redis(tmp_path, port=port):
        submitter = Subscriber(port, ANA)
        box.clock.advance(3600)
        box.scan()

        assert submitter.next()["kind"] == "JOB_SUBMITTED"
        assert not submitter.has_more()


@needs_redis
def test_test_message_is_published(box: Box, port: int) -> None:
    """N02"""
    with scanning(box, port):
        subscriber = Subscriber(port, OWNER)
        send_test(load(box.home), "live", "")

    assert subscriber.next()["kind"] == "TEST"


@needs_redis
def test_passwords_and_permissions(tmp_path: Path) -> None:
    """Users of access control lists, the default user, and a channel that a user may not use."""
    configuration = tmp_path / "redis.conf"
    configuration.write_text(
        "requirepass secret-1\nuser app on >secret-2 +@all ~* &notifications:*\nuser deaf on >secret-3 +@all ~*\n"
    )
    with run_redis(tmp_path, configuration=configuration) as port:
        assert send(f"redis://:secret-1@{HOST}:{port}") == "0 subscribed"
        assert send(f"redis://app:secret-2@{HOST}:{port}/3") == "0 subscribed"
        for sign_in in ("", "app:secret-4@", ":secret-4@", "deaf:secret-3@"):
            error = refusal(f"redis://{sign_in}{HOST}:{port}")
            assert error.failure is Failure.AUTH, sign_in
            assert "secret-" not in str(error)


@needs_redis
def test_tls_verifies_the_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert(HOST)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    files = [f"--tls-{name}-file" for name in ("cert", "key", "ca-cert")]
    values = [str(tmp_path / name) for name in ("server.pem", "server.pem", "ca.pem")]
    options = [each for pair in zip(files, values, strict=True) for each in pair]
    with run_redis(tmp_path, *options, "--tls-auth-clients", "no", is_encrypted=True) as encrypted:
        assert send(f"rediss://{HOST}:{encrypted}", ca_file=str(tmp_path / "ca.pem")) == "0 subscribed"
        assert refusal(f"rediss://{HOST}:{encrypted}").failure is Failure.UNREACHABLE


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("-LOADING Redis is loading the dataset in memory", Failure.TEMPORARY),
        ("-MASTERDOWN Link with MASTER is down", Failure.TEMPORARY),
        ("-OOM command not allowed when used memory > 'maxmemory'.", Failure.TEMPORARY),
        ("-DENIED Redis is running in protected mode", Failure.AUTH),
        ("-NOAUTH Authentication required.", Failure.AUTH),
        ("-ERR unknown command 'PUBLISH'", Failure.PERMANENT),
    ],
)
def test_error_replies(line: str, failure: Failure) -> None:
    with redis_server.serve_redis() as server:
        server.replies["PUBLISH"] = redis_server.reply(line)
        assert server.server is not None

        assert refusal(f"redis://{HOST}:{server.server.port}").failure is failure


@pytest.mark.parametrize(
    "url",
    ["", "http://h", "redis://", "redis://h:0", "redis://h:99999", "redis://h/x", "redis://h?db=1", "redis://h/0 x", 7],
)
def test_wrong_address_is_refused_without_its_password(url: object) -> None:
    with pytest.raises(ValidationError, match="expected a URL such as 'redis://"):
        transport_settings({"type": "redis", "url": url})


def test_password_that_leaves_the_machine_unencrypted_is_a_warning(box: Box) -> None:
    live = {"type": "redis", "url": "redis://:secret@redis.example"}
    box.configure({"transports": {"box": {"type": "maildir"}, "live": live}})
    warnings = " ".join(load(box.home).warnings)

    assert "transports.live: the password in `url` is sent over unencrypted redis://" in warnings
    assert "change `url` to rediss://" in warnings
    assert "secrets in plain text: transports.live.url" in warnings
    assert "secret@" not in warnings
