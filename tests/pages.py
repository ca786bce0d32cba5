"""The page of a real server: a home with jobs and deliveries, and a browser that is signed in to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Route

from syftnotify.core.errors import Failure
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.models import Event, Notification, NotificationState
from syftnotify.core.outbox import AttemptOutcome
from tests.support import ANA, OWNER, TIMEOUT, Box, claim
from tests.trees import TREES, Disk, Tree
from tests.web import Served

CODE = "import statistics\n\nages = [31, 45, 52]\nprint(statistics.mean(ages))\n"
CHANGED_CODE = CODE.replace("mean(ages)", "median(ages)") + "import os\nprint(os.environ)\n"
PAGES = ("", "inbox", "jobs", "rules", "silences", "worklist", "deliveries", "transports", "status")


def fill(served: Served) -> Tree:
    """Jobs that ended and one that waits, an unknown and a dead delivery, and notifications of other programs."""
    box = served.box
    box.clock.now = time.time() - 3600.0
    tree = TREES["D"](Disk(box.root, box.clock.time))
    box.scan()
    for name, code in (("ages-1", 0), ("ages-2", 1)):
        tree.submit(name, files={"main.py": CODE})
        step(box)
        tree.approve(name)
        step(box)
        tree.run(name, code=code)
        step(box)
    tree.submit("ages-3", files={"main.py": CHANGED_CODE})
    step(box)
    box.clock.now = time.time()
    undelivered(served, ANA, Failure.PERMANENT)
    undelivered(served, OWNER, Failure.UNKNOWN)
    served.store(2, user=OWNER)
    return tree


def step(box: Box) -> None:
    box.clock.advance(60.0)
    box.scan()


def undelivered(served: Served, recipient: str, failure: Failure) -> str:
    """A delivery through the transport `box` whose only attempt has failed; returns its id."""
    outbox, now = served.outbox, time.time()
    event = Event(EventKind.JOB_FAILED, f"run/{recipient}", str(now), payload={"name": "nightly-sync"}, emitted=True)
    item = Notification(event.key, event.entity, recipient, Audience.RECIPIENT, "box", route="routes[0]")
    outbox.enqueue([event], [item], now)
    claimed = claim(outbox, "box", now, worker_id="test")
    state = NotificationState.UNKNOWN if failure is Failure.UNKNOWN else NotificationState.DEAD
    outbox.queue.mark_failed(claimed, now, failure, "550 no such mailbox", AttemptOutcome(state))
    return item.id


@dataclass(slots=True)
class Visit:
    """A page in a browser, and what went wrong in it: messages of its console, requests of other sites."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/ui/{path}")


@contextmanager
def visiting(
    browser: Browser, served: Served, *, role: str = "operator", user: str = OWNER, **options: Any
) -> Iterator[Visit]:
    """A browser on the page; with a `role` it is signed in. `options` are those of a browser context."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
    context.set_default_timeout(TIMEOUT * 1000)
    try:
        visit = watched(context, served)
        if role:
            visit.open("sign-in")
            visit.page.get_by_label("Token").fill(served.token(role, user))
            visit.page.get_by_role("button", name="Sign in", exact=True).click()
            visit.page.wait_for_url(f"{served.server.url}/ui/*")
        yield visit
    finally:
        context.close()


def watched(context: BrowserContext, served: Served) -> Visit:
    """A new page, whose requests of other sites are refused."""
    visit = Visit(context.new_page(), served.server.url)

    def guard(route: Route) -> None:
        if route.request.url.startswith((served.server.url, "data:")):
            route.continue_()
        else:
            visit.problems.append(f"request of {route.request.url}")
            route.abort()

    def refuse(dialog: Dialog) -> None:
        visit.problems.append(f"dialog {dialog.message}")
        dialog.dismiss()

    context.route("**/*", guard)
    visit.page.on("console", lambda message: visit.problems.append(message.text))
    visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
    visit.page.on("dialog", refuse)
    return visit
