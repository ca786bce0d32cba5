"""A box with one transport of each type, each with its server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes import google, mailserver
from tests.fakes.google import Google
from tests.fakes.mailserver import HOST, MailServer
from tests.fakes.web import WebServer, respond, serve_web
from tests.support import BO, Box, mails_in

NAMES = ["box", "office", "mail", "team", "oncall"]


@dataclass(frozen=True, slots=True)
class AllTransports:
    box: Box
    office: MailServer
    google: Google
    team: WebServer
    oncall: WebServer

    def transports(self) -> dict[str, dict[str, Any]]:
        return {
            "box": {"type": "maildir"},
            "office": {"type": "smtp", "smtp_url": f"smtp://{HOST}:{self.office.port}", "from": BO},
            "mail": {"type": "gmail", "api_endpoint": self.google.url},
            "team": {"type": "slack", "url": self.team.url, "default_recipient": "#jobs"},
            "oncall": {"type": "webhook", "url": self.oncall.url},
        }

    def configure(self, changes: dict[str, dict[str, Any]] | None = None, /, **names: str) -> None:
        """Configure all transports, or those of `names` (new name -> name of the transport), in this order.

        `changes` are further settings by name.
        """
        sections = self.transports()
        chosen = {name: sections[which] for name, which in (names or dict(zip(NAMES, NAMES, strict=True))).items()}
        for name, settings in (changes or {}).items():
            chosen[name] = {**chosen[name], **settings}
        self.box.configure({"transports": chosen, "routes": [{"events": ["job_failed"], "via": next(iter(chosen))}]})

    @property
    def texts(self) -> dict[str, list[str]]:
        """Text or event of each received message, by transport."""
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


@contextlib.contextmanager
def serving_all(box: Box) -> Iterator[AllTransports]:
    """Run all servers; `box` is configured for them."""
    with (
        mailserver.serve_mail() as office,
        google.serve_google() as one,
        serve_web() as team,
        serve_web(respond(200)) as oncall,
    ):
        made = AllTransports(box, office, one, team, oncall)
        made.configure()
        one.write_token(box.home.token)
        yield made
