"""A server and settings for each registered transport, as the contract tests need them."""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from syftnotify.core.models import Message
from syftnotify.core.ports import Transport
from tests.fakes import google, mailserver, redis_server, web
from tests.fakes.mailserver import HOST
from tests.support import ANA, OWNER, mails_in, transport_for, transport_settings

NOW = 1_800_000_000.0


LATER = datetime.fromtimestamp(NOW + 120, UTC)


# Every secret of every server here begins so: one look at a text tells whether any of them is in it.
SECRET = "secret-"


HELLO = Message(
    id="0123456789abcdef",
    recipient=ANA,
    subject="job_completed",
    text="It has ended: ≥ 5.\n",
    html="<p>It has ended: ≥ 5.</p>\n",
    sender=OWNER,
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as the other side has it."""

    id: str  # empty where the protocol has no place for one
    text: str
    to: tuple[str, ...]  # empty where the address of the server says it all
    names: tuple[str, ...]  # of its headers, and of the keys of its object


def mail_arrived(mail: EmailMessage, *, envelope: tuple[str, ...] = ()) -> Arrived:
    part = mail.get_body(("plain",))
    assert part is not None
    return Arrived(
        id=str(mail["Message-ID"]).strip("<>").partition("@")[0],
        text=str(part.get_content()).replace("\r\n", "\n"),
        # Some carry to the envelope, some to the header: whichever names more.
        to=max(envelope, tuple(address.addr_spec for address in mail["To"].addresses), key=len),
        names=tuple(name.lower() for name in mail.keys()),  # noqa: SIM118 - each as often as it stands there
    )


class Rig(ABC):
    """A transport type, and the place to which it delivers."""

    recipient = ANA
    has_ids = True  # the protocol has a place for the id of a message
    has_waits = False  # the protocol has a place for the time of the next attempt

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self.folder = folder
        self.end = end

    def transport(self, *, port: int | None = None, seconds: float = 20) -> Transport:
        """A transport to this place, or to whatever listens on `port` of this machine."""
        section = transport_settings(self.section(port, seconds))
        made = transport_for(section, clock=lambda: NOW)
        self.end.callback(made.close)
        return made

    def message(self, **changes: Any) -> Message:
        """One that is worded for this kind; `changes` replace its fields."""
        message = replace(HELLO, **{"recipient": self.recipient, **changes})
        return replace(message, body=json.dumps({"id": message.id, "text": message.text}).encode())

    @abstractmethod
    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        """What `config.yaml` would say."""

    @abstractmethod
    def stop_server(self) -> None:
        """From now on there is nothing to deliver to."""

    @property
    @abstractmethod
    def requests(self) -> int:
        """How many sends were begun, as the other side counts them."""

    @property
    @abstractmethod
    def received(self) -> list[Arrived]:
        """What arrived."""


class Served(Rig):
    """A place behind a network, where more can go wrong."""

    @abstractmethod
    def reject(self) -> None:
        """Says no to every message, for good."""

    @abstractmethod
    def reject_with_secrets(self) -> None:
        """Says no in words that hold the secrets that it was sent."""

    @abstractmethod
    def reject_temporarily(self, wait: str = "") -> None:
        """Says "not now", and how long to wait where the protocol has a place for that."""

    @abstractmethod
    def close_after_message(self) -> None:
        """Takes everything, and closes the connection without an answer."""

    @abstractmethod
    def hangs(self) -> None:
        """Takes everything, and never answers."""


class GmailRig(Served):
    has_waits = True

    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(google.serve_google())

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        url = self.server.url if port is None else f"http://{HOST}:{port}"
        # Expired, because a sign-in that is still good asks nobody, and a check could find nothing out.
        token = self.server.write_token(self.folder / "token.json", expired=True, token_uri=f"{url}/token")
        return {"type": "gmail", "token": str(token), "api_endpoint": url, "timeout_secs": seconds}

    def reject(self) -> None:
        self.server.default = google.respond_error(400, "invalidArgument")

    def reject_with_secrets(self) -> None:
        self.server.default = lambda handler: google.respond_error(400, text=handler.headers["Authorization"])(handler)

    def reject_temporarily(self, wait: str = "") -> None:
        self.server.default = google.respond_error(503, "backendError", headers={"Retry-After": wait} if wait else None)

    def close_after_message(self) -> None:
        self.server.default = google.close_connection

    def hangs(self) -> None:
        self.server.default = google.hang(60)

    def stop_server(self) -> None:
        self.server.stop()

    @property
    def requests(self) -> int:
        return len(self.server.posts)

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(post.mail) for post in self.server.posts]


class SmtpRig(Served):
    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(mailserver.serve_mail(users={mailserver.USER: mailserver.PASSWORD}))

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        place = f"{HOST}:{self.server.port if port is None else port}"
        url = f"smtp://{mailserver.USER}:{mailserver.PASSWORD}@{place}"
        return {"type": "smtp", "smtp_url": url, "timeout_secs": seconds}

    def reject(self) -> None:
        self.server.default["RCPT"] = mailserver.reply("550 5.1.1 no such user")

    def reject_with_secrets(self) -> None:
        self.server.default["AUTH"] = mailserver.reply_with_password

    def reject_temporarily(self, wait: str = "") -> None:
        assert not wait, "a mail server names no time"
        self.server.default["RCPT"] = mailserver.reply("451 4.3.0 later")

    def close_after_message(self) -> None:
        self.server.default["dot"] = mailserver.sequence(mailserver.commit, mailserver.close_connection)

    def hangs(self) -> None:
        self.server.default["dot"] = mailserver.sequence(mailserver.commit, mailserver.hang)

    def stop_server(self) -> None:
        self.server.stop()

    @property
    def requests(self) -> int:
        return self.server.attempts

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(taken.mail, envelope=taken.recipients) for taken in self.server.committed]


class WebRig(Served):
    has_waits = True
    refusal = 404  # status of a refusal that concerns one message

    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(web.serve_web())

    def url(self, port: int | None) -> str:
        return self.server.url if port is None else f"http://{HOST}:{port}/services/T000/{SECRET}path"

    def reject(self) -> None:
        self.server.default = web.respond(self.refusal, "channel_not_found")

    def reject_with_secrets(self) -> None:
        def answer(connection: socket.socket) -> None:
            request = self.server.requests[-1]
            word = request.headers.get("authorization", "")
            web.respond(self.refusal, f"Cannot {request.line.removesuffix(' HTTP/1.1')} {word}".strip())(connection)

        self.server.default = answer

    def reject_temporarily(self, wait: str = "") -> None:
        self.server.default = web.respond(503, "later", **({"Retry_After": wait} if wait else {}))

    def close_after_message(self) -> None:
        self.server.default = web.close_connection

    def hangs(self) -> None:
        self.server.default = mailserver.never_respond

    def stop_server(self) -> None:
        assert self.server.server is not None
        self.server.server.stop()

    @property
    def requests(self) -> int:
        return len(self.server.requests)


class SlackRig(WebRig):
    recipient = "#jobs"
    has_ids = False

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "slack", "url": self.url(port), "timeout_secs": seconds}

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived("", request.json["text"], (request.json["channel"],), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class DiscordRig(WebRig):
    recipient = "chat"
    has_ids = False
    refusal = 400

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "discord", "url": self.url(port), "timeout_secs": seconds}

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived("", request.json["content"], (), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class WebhookRig(WebRig):
    recipient = "ci"

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {
            "type": "webhook",
            "url": self.url(port),
            "secret": f"{SECRET}of-the-signature",
            "headers": {"Authorization": f"Bearer {SECRET}of-the-header"},
            "timeout_secs": seconds,
        }

    @property
    def received(self) -> list[Arrived]:
        return [
            Arrived(request.headers["webhook-id"], request.json["text"], (), (*request.headers, *request.json))
            for request in self.server.requests
        ]


class MaildirRig(Rig):
    @property
    def path(self) -> Path:
        return self.folder / "mail"

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        return {"type": "maildir", "path": str(self.path)}

    def stop_server(self) -> None:
        if self.path.exists():
            self.path.rename(self.folder / "kept")
        self.path.write_text("in the way")

    @property
    def requests(self) -> int:
        return len(self.received)

    @property
    def received(self) -> list[Arrived]:
        return [mail_arrived(mail.message) for mail in mails_in(self.path)]


class RedisRig(Served):
    def __init__(self, folder: Path, end: ExitStack) -> None:
        super().__init__(folder, end)
        self.server = end.enter_context(redis_server.serve_redis())

    def section(self, port: int | None, seconds: float) -> dict[str, Any]:
        assert self.server.server is not None
        chosen = self.server.server.port if port is None else port
        return {"type": "redis", "url": f"redis://notifier:{SECRET}word@{HOST}:{chosen}", "timeout_secs": seconds}

    def reject(self) -> None:
        self.server.replies["PUBLISH"] = redis_server.reply("-ERR unknown command 'PUBLISH'")

    def reject_with_secrets(self) -> None:
        self.server.replies["AUTH"] = redis_server.reply(f"-WRONGPASS invalid {SECRET}word")

    def reject_temporarily(self, wait: str = "") -> None:
        assert not wait, "the protocol has no place for a time"
        self.server.replies["PUBLISH"] = redis_server.reply("-BUSY Redis is busy running a script.")

    def close_after_message(self) -> None:
        self.server.replies["PUBLISH"] = web.close_connection

    def hangs(self) -> None:
        self.server.replies["PUBLISH"] = mailserver.never_respond

    def stop_server(self) -> None:
        assert self.server.server is not None
        self.server.server.stop()

    @property
    def requests(self) -> int:
        return len(self.server.published)

    @property
    def received(self) -> list[Arrived]:
        found = [(channel, json.loads(content)) for channel, content in self.server.published]
        return [Arrived(each["id"], each["text"], (channel.decode(),), tuple(each)) for channel, each in found]


# One entry for each registered transport; the tests run for every name in the registry.
RIGS: dict[str, type[Rig]] = {
    "gmail": GmailRig,
    "smtp": SmtpRig,
    "maildir": MaildirRig,
    "slack": SlackRig,
    "discord": DiscordRig,
    "webhook": WebhookRig,
    "redis": RedisRig,
}
