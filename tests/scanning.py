"""Scans of a box, and the mails that they must cause."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest

from syftnotify.runtime.container import App
from syftnotify.runtime.scan_report import ScanReport
from tests.support import ANA, BO, OWNER, Box, Mail, Sent, worker_in_process
from tests.trees import Tree

Scan = Callable[[], ScanReport]

NOTHING: Counter[Sent] = Counter()


def on(*keys: str, thorough: Iterable[str] = ()) -> pytest.MarkDecorator:
    """Run the test on these layouts; on those in `thorough` as a thorough test."""
    extra = [pytest.param(key, marks=pytest.mark.thorough) for key in thorough]
    return pytest.mark.parametrize("tree", [*keys, *extra], indirect=True)


def scan_with(box: Box, app: App) -> Scan:
    """A function that scans with the same app, whose scan cache is kept between scans."""

    def scan() -> ScanReport:
        report = app.run_once(box.last_scan)
        box.last_scan = box.clock.now
        return report

    return scan


def notified(box: Box) -> Counter[Sent]:
    """Event, audience and recipient of each new mail."""
    return Counter(mail.sent for mail in box.new_mails())


def scan_after(box: Box, seconds: float, scan: Scan | None = None) -> Counter[Sent]:
    """Advance the clock, scan, and return the new mails."""
    box.clock.advance(seconds)
    (scan or box.scan)()
    return notified(box)


def expected(tree: Tree, *kinds: str, by: str = ANA) -> Counter[Sent]:
    """The mails that the default routes require for `kinds`."""
    mails: Counter[Sent] = Counter()
    for kind in kinds:
        if kind not in {"job_approved", "job_rejected"}:
            mails[kind, "owner", OWNER] += 1
        if tree.names_submitter:
            mails[kind, "submitter", by] += 1
    return mails


def times(found: Counter[Sent], count: int) -> Counter[Sent]:
    return Counter({sent: number * count for sent, number in found.items()})


def without_grants(found: Counter[Sent]) -> Counter[Sent]:
    return Counter({sent: count for sent, count in found.items() if sent[0] != "peer_granted"})


def run_baseline(box: Box, tree: Tree, *, scan: Scan | None = None) -> None:
    """Run the baseline scan of a tree with two peers and without jobs."""
    if tree.layout in {"C", "D"}:
        for peer in (ANA, BO):
            tree.grant(peer)
    assert scan_after(box, 10, scan) == NOTHING


def mail_about(box: Box, kind: str, audience: str = "owner") -> Mail:
    (mail,) = [mail for mail in box.mails() if (mail.event, mail.audience) == (kind, audience)]
    return mail


def owner_entities(mails: Iterable[Mail]) -> list[str]:
    """The entities of the mails to the owner, sorted."""
    return sorted(entity for mail in mails if mail.audience == "owner" for entity in mail.entities)


@contextlib.contextmanager
def opened_app(box: Box) -> Iterator[App]:
    """One app for several scans, so that a pause is remembered."""
    app = box.open_app()
    try:
        yield app
    finally:
        app.close()


def scan_once(box: Box) -> None:
    """One scan of a new process, with the health checks."""
    with worker_in_process(box) as scan:
        scan()
