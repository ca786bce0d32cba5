"""`notify demo`: run a real worker for a small SyftBox and check its mails."""

from typing import TYPE_CHECKING

import typer

from syftnotify.cli.console import print_line, print_paragraphs, print_rows

if TYPE_CHECKING:
    from syftnotify.services.demo import Demo, DemoMail, ReceivedMail

_STEP_SECONDS = 20.0  # time limit for the mails of a step; later ones count as missing
_REPEAT_SECONDS = 2.5  # at the end; longer than two scans, so that a repeated mail would have arrived
_POLL_SECONDS = 0.05


def demo() -> None:
    """Run a demonstration; it needs no account and no network."""
    import shutil
    import time

    from syftnotify.core.text import escape, plural
    from syftnotify.services.demo import create_demo
    from syftnotify.services.preview import write_gallery

    begun = time.monotonic()
    current = create_demo()
    print_line(f"a SyftBox, a home and a Maildir in {current.folder}")
    expected = _run(current)
    received = current.received()
    print_rows([(each.mail.event, each.mail.recipient, escape(each.subject)) for each in received], flexible=(2,))
    if not _check([each.mail for each in received], expected):
        print_line(f"the worker's log is {current.home.log}")
        raise typer.Exit(1)
    seconds = time.monotonic() - begun
    print_line(f"{plural(len(received), 'mail')}, each of them once, in {seconds:.1f} s\n", style="green")
    _print_mail(received)
    gallery, *_ = write_gallery(current.home, current.folder / "gallery")
    print_line(f"the mails are in {current.home.mail}/new; every kind of mail as HTML: {gallery}")
    print_line(f"delete the folder when you are done: {current.folder}")
    shutil.rmtree(current.tree.root)


def _run(current: "Demo") -> "list[DemoMail]":
    """Run all steps beside a worker; returns the expected mails."""
    import time

    from syftnotify.core.text import plural
    from syftnotify.runtime import process

    started = process.start(current.home)
    print_line(f"the worker runs (pid {started.pid})")
    expected: list[DemoMail] = []
    try:
        for step in current.steps():
            step.run()
            expected += step.mails
            _wait_for(current, len(expected))
            print_line(f"  {step.text}: {plural(len(current.received()), 'mail')}")
        time.sleep(_REPEAT_SECONDS)  # a mail that is sent twice arrives meanwhile
    finally:
        process.stop(current.home)
    return expected


def _wait_for(current: "Demo", count: int) -> None:
    import time

    until = time.monotonic() + _STEP_SECONDS
    while len(current.received()) < count and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)  # polling interval: the worker is another process


def _check(received: "list[DemoMail]", expected: "list[DemoMail]") -> bool:
    """Print missing and repeated mails; returns whether there are none."""
    from syftnotify.services.demo import difference

    missing, extra = difference(expected, received), difference(received, expected)
    for mail in missing:
        print_line(f"missing: {mail.event} to {mail.recipient}", style="red")
    for mail in extra:
        print_line(f"unexpected: {mail.event} to {mail.recipient}", style="red")
    return not (missing or extra)


def _print_mail(received: "list[ReceivedMail]") -> None:
    """Print the mail about the job that failed, to the owner: it has the exception and its line."""
    from syftnotify.core.kinds import EventKind
    from syftnotify.core.text import escape, escape_block
    from syftnotify.services.demo import OWNER

    shown = next(each for each in received if each.mail == (EventKind.JOB_FAILED.value, OWNER))
    print_line(f"the mail about the job that failed:\n\nSubject: {escape(shown.subject)}\n")
    print_paragraphs(escape_block(shown.text))
