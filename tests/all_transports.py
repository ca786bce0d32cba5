"""Each kind of transport with a real server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes import google, mailserver
from tests.fakes.google import Google
from tests.fakes.mailserver import HOST, MailServer
from tests.fakes.web import Web, says, web
from tests.support import BO, Box, mails_in

NAMES = ["box", "office", "mail", "team", "oncall"]


@dataclass(frozen=True, slots=True)
class AllTransports:
    """Each kind of transport with a real server."""

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
        """Configure all transports, or those of `names` (name -> which transport it is), in the order of their names.

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


@contextlib.contextmanager
def serving_all(box: Box) -> Iterator[AllTransports]:
    """Run all servers; `box` is configured for them."""
    with mailserver.serving() as office, google.serving() as one, web() as team, web(says(200)) as oncall:
        made = AllTransports(box, office, one, team, oncall)
        made.configure()
        one.write_token(box.home.token)
        yield made
