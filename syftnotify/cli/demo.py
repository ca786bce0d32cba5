"""`notify demo`: run a real worker for a small SyftBox and check its mails."""

from typing import TYPE_CHECKING

import typer

from syftnotify.cli.console import out, print_line

if TYPE_CHECKING:
    from syftnotify.services.demo import Demo, DemoMail, ReceivedMail

_WIDE_COLUMNS = 140  # minimum width at which subject and path have a column each
_STEP_SECONDS = 20.0  # time limit for the mails of a step; later ones count as missing
_REPEAT_SECONDS = 2.5  # at the end; longer than two scans, so that a repeated mail would have arrived
_POLL_SECONDS = 0.05


def demo() -> None:
    """Run a demonstration; it needs no account and no network."""
    import shutil
    import time

    from syftnotify.core.text import plural
    from syftnotify.services.demo import create_demo

    begun = time.monotonic()
    current = create_demo()
    print_line(f"a SyftBox, a home and a Maildir in {current.folder}")
    expected = _run(current)
    received = current.received()
    _print_table(current, received)
    if not _check([each.mail for each in received], expected):
        print_line(f"the worker's log is {current.home.log}")
        raise typer.Exit(1)
    seconds = time.monotonic() - begun
    print_line(f"{plural(len(received), 'mail')}, each of them once, in {seconds:.1f} s", style="green")
    print_line(f"read them in {current.home.mail}/new; delete the folder when you are done: {current.folder}")
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


def _print_table(current: "Demo", received: "list[ReceivedMail]") -> None:
    from rich.table import Table
    from rich.text import Text

    from syftnotify.core.text import escape

    folder = current.home.mail
    table = Table(box=None, pad_edge=False, title=f"mails in {folder}", title_justify="left")
    for name in ("event", "to"):
        table.add_column(name, no_wrap=True)
    is_wide = out.width >= _WIDE_COLUMNS
    for name in ("subject", "path") if is_wide else ("subject, path",):
        table.add_column(name, overflow="fold")
    for each in received:
        cells = [Text(escape(each.subject)), Text(str(each.path.relative_to(folder)))]
        table.add_row(each.mail.event, each.mail.recipient, *(cells if is_wide else [Text("\n").join(cells)]))
    out.print(table)
