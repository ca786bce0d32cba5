"""`notify history` and `notify why`: who was told what, and who was not, and for what reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence

from syftnotify.cli.console import emit_line, say
from syftnotify.cli.letters import SHORT, UsageError, as_object, moment_of, none_yet, outbox_of
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import EventKind, parse_kind
from syftnotify.core.outbox import EventRecord, NotificationRecord
from syftnotify.core.text import escape, iso, iso_to_local, local_time, plural
from syftnotify.services.settings import load_reporting_all
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.state_file import find_corruption
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system.paths import Home

STATES = ("pending", "withheld", "sending", "sent", "unknown", "dead", "skipped")
_HEAP = 1000  # events that are forgotten in one transaction, which keeps every other writer out
_TURN = 0.05  # seconds between two heaps: a writer waited 0.05 s at the most, without them 1.3 s (100,000 events)


def show(
    home: Home,
    *,
    recipient: str,
    about: str,
    kinds: Iterable[str],
    states: Sequence[str],
    transport: str,
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print who was told what, newest last.

    Raises:
        ConfigError: there is no such state.
    """
    earliest = moment_of(since) if since is not None else None
    words = [parse_kind(kind).value for kind in kinds]
    if wrong := [state for state in states if state not in STATES]:
        raise ConfigError(f"{escape(wrong[0])!r} is no state", hint=f"there are {', '.join(STATES)}")
    with outbox_of(home) as outbox:
        letters = (
            outbox.history.notifications(
                states=states,
                kinds=words,
                about=about,
                recipient=recipient,
                transport=transport,
                since=earliest,
                limit=limit or None,
            )[::-1]
            if outbox
            else []
        )
    if as_json:
        emit_line(json.dumps([as_object(letter) for letter in letters]))
        return
    for letter in letters:
        say(f"{letter.id[:SHORT]}  {letter.kind} to {escape(letter.recipient)}{_way(letter)}")
        say(f"          {outcome(letter)}")
        say(f"          {escape(letter.entity)}")
    if not letters:
        is_filtered = recipient or about or words or states or transport or since is not None
        say("no notification matches" if outbox and is_filtered else none_yet(home))


def explain(home: Home, about: str, *, as_json: bool) -> None:
    """Print of every event of a job, or another entity, who was notified, who was not, and why.

    Raises:
        NotifyError: nothing is recorded of it.
    """
    with outbox_of(home) as outbox:
        if outbox is None:
            emit_line("[]" if as_json else none_yet(home))
            return
        events = outbox.history.events(about)
        letters: dict[str, list[NotificationRecord]] = {}
        for letter in outbox.history.notifications(about=about)[::-1]:
            letters.setdefault(letter.event_key, []).append(letter)
    silent = _recorded_silently(home, about, events)
    if not events and not silent:
        raise NotifyError(
            f"nothing was noticed of {escape(about)!r}",
            hint="`notify history` lists what was noticed; a job can be named by its folder or its entity id",
        )
    if as_json:
        found = [{**_as_object(entity, kind.value, since), "recorded_by": "baseline"} for entity, kind, since in silent]
        for event in events:
            told = [as_object(letter) for letter in letters.get(event.key, [])]
            found.append({**_as_object(event.entity, event.kind, iso(event.noticed_at)), "notifications": told})
        emit_line(json.dumps(found))
        return
    for entity in dict.fromkeys([*(entity for entity, *_ in silent), *(event.entity for event in events)]):
        say(escape(entity))
        for _, kind, since in (each for each in silent if each[0] == entity):
            say(f"  {kind}, recorded as notified by the baseline scan of {iso_to_local(escape(since))}")
            say("    nobody: it was so before the first scan (or `notify prune` has removed who was notified)")
        for event in (each for each in events if each.entity == entity):
            _explain_event(event, letters.get(event.key, []))


def _way(letter: NotificationRecord) -> str:
    """The transport, if there is one for that recipient."""
    return f" through {escape(letter.transport)}" if letter.transport else ""


def _explain_event(event: EventRecord, letters: Sequence[NotificationRecord]) -> None:
    say(f"  {event.kind}, noticed {local_time(event.noticed_at)}")
    for letter in letters:
        say(f"    {letter.audience} {escape(letter.recipient)}: {outcome(letter)}")
        rule = f"by {escape(letter.route) or 'a rule of an older version'}"
        say(f"      {_way(letter).strip()}, {rule}" if letter.transport else f"      {rule}")
    if not letters:
        say("    nobody: no route names anybody, or it was so before the first scan")


def _recorded_silently(home: Home, about: str, events: Sequence[EventRecord]) -> list[tuple[str, EventKind, str]]:
    """What the ledger records as notified and the outbox does not have: entity, kind, time of the baseline scan.

    The baseline scan records what had happened before it so; it is the earliest of those of jobs, or of peers.
    """
    if find_corruption(home.state):
        return []
    ledger = Ledger(home.state)
    noticed = {(event.entity, event.kind) for event in events}
    silent = []
    for entity, kinds in ledger.notified_kinds(about).items():
        what = "peers " if entity.startswith("peer/") else "jobs "
        since = min((at for name, at in ledger.baselines().items() if name.startswith(what)), default="")
        silent += [(entity, kind, since) for kind in kinds if since and (entity, kind.value) not in noticed]
    return silent


def _as_object(entity: str, kind: str, noticed_at: str) -> dict[str, object]:
    return {"event": kind, "entity": entity, "noticed_at": noticed_at, "notifications": []}


def prune(home: Home, older_than: str | None, *, dry_run: bool) -> None:
    """Forget the history before a moment.

    Raises:
        ConfigError: neither the command nor the configuration says how long it is kept.
        UsageError: the moment is in the future, or is none.
    """
    retention = None if older_than is not None else load_reporting_all(home).config.retention
    if older_than is None and retention is None:
        raise ConfigError("the history is kept without limit", hint="pass `--older-than 365d`, or set `retention`")
    before = moment_of(older_than) if older_than is not None else time.time() - (retention or 0.0)
    if older_than is not None and before > time.time():
        raise UsageError(
            f"--older-than: {local_time(before)} is in the future", hint="pass a past time: 26w, 365d or 2026-01-15"
        )
    with outbox_of(home) as outbox:
        ledger = Ledger(home.state)
        if outbox is None:
            count = 0
        elif dry_run:
            count = outbox.history.prune(before, time.time(), exempt=ledger.owed(), dry_run=True)
        else:
            count = forget(outbox, ledger, before)
    say(f"{plural(count, 'event')} from before {local_time(before)} {'would be ' if dry_run else ''}forgotten")


def forget(outbox: SqliteOutbox, ledger: Ledger, before: float) -> int:
    """Forget the history before a moment, a heap at a time; returns how many events.

    Between two heaps a running worker has its turn.
    """

    def heap(limit: int | None = _HEAP) -> int:
        ledger.refresh()
        return outbox.history.prune(before, time.time(), exempt=ledger.owed(), limit=limit)

    total = 0
    while count := heap():
        total += count
        time.sleep(_TURN)  # a running worker gets its turn between two heaps
    return total + heap(None)  # what stands behind a whole heap that is owed


def outcome(letter: NotificationRecord) -> str:
    """What became of it, in words."""
    tried = f"{local_time(letter.tried_at)}, {plural(letter.attempts, 'attempt')}" if letter.tried_at else ""
    reason = escape(letter.reason, limit=200)
    if letter.state == "sent":
        return f"told {tried}"
    if letter.state == "skipped":
        return f"not told: {reason}"
    if letter.state == "withheld":
        return f"withheld: {reason}"
    if letter.state == "dead":
        return f"given up {tried}: {reason}"
    if letter.state == "unknown":
        return f"may have arrived {tried}: {reason}"
    held = f", not before {local_time(letter.not_before)}" if letter.not_before > time.time() else ""
    why = f": {reason}" if reason else ""
    return f"{'being sent' if letter.state == 'sending' else 'waits'}{held}{why}"
