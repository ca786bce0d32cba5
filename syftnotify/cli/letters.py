"""`notify dead-letters` and `notify resend`: notifications that are not retried any more, and their requeueing."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime

from syftnotify.cli.console import emit_line, say, warn
from syftnotify.config.values import DurationRangeError, parse_duration
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.outbox import NotificationRecord
from syftnotify.core.text import escape, iso, local_time, plural
from syftnotify.services.settings import load
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_lock
from syftnotify.system.paths import Home

SHORT = 8  # digits of an id that are shown; any that tell it apart are taken


def show(home: Home, *, as_json: bool) -> None:
    """Print the dead letters, and what is held because it may have arrived."""
    with outbox_of(home) as outbox:
        letters = _stuck(home, outbox) if outbox else []
    if as_json:
        emit_line(json.dumps([as_object(letter) for letter in letters]))
        return
    for letter in letters:
        tries = plural(letter.attempts, "attempt")
        word = "dead" if letter.state == "dead" else "held, may have arrived"
        word += ", acknowledged" if letter.acknowledged_at is not None else ""
        say(f"{letter.id[:SHORT]}  {letter.kind} to {escape(letter.recipient)} through {escape(letter.transport)}")
        say(f"          {word} after {tries}, noticed {local_time(letter.created_at)}")
        say(f"          {escape(letter.entity)}")
        say(f"          {escape(letter.reason, limit=1000)}")
    if letters:
        say("send some of them again with `notify resend ID...`, all dead ones with `notify resend --all-dead`")
        if any(letter.state == "dead" and letter.acknowledged_at is None for letter in letters):
            say("the worker is unhealthy until they are sent again or acknowledged: `notify dead-letters --ack`")
    else:
        say("no dead letters" if outbox else none_yet(home))


def acknowledge(home: Home, ids: list[str]) -> None:
    """Note that a person knows of these dead letters, or of all: they do not make the worker unhealthy any more.

    Raises:
        NotifyError: an id names no dead letter, or several; nothing is changed then.
    """
    with outbox_of(home) as outbox:
        if outbox is None:
            say(none_yet(home))
            return
        count = outbox.dead_letters.acknowledge(time.time(), [_named(outbox, text) for text in ids] or None)
    say(f"{plural(count, 'dead letter')} acknowledged")


def resend(home: Home, ids: list[str], *, all_dead: bool, recipient: str | None, since: str | None) -> None:
    """Put letters back into the queue: those named, or all that match.

    Raises:
        NotifyError: an id names none or several, or what was sent, or nothing was asked for; nothing is changed then.
    """
    earliest = moment_of(since) if since is not None else None
    if bool(ids) == bool(all_dead or recipient or since):
        raise UsageError(
            "pass ids, or --all-dead, --recipient, --since", hint="`notify dead-letters` lists them with their ids"
        )
    with outbox_of(home) as outbox:
        chosen = (
            [_named(outbox, text) for text in ids]
            if ids
            else [
                letter.id
                for letter in (_stuck(home, outbox) if outbox else ())
                if (not all_dead or letter.state == "dead")
                and (recipient is None or letter.recipient.lower() == recipient.lower())
                and (earliest is None or letter.created_at >= earliest)
            ]
        )
        count = outbox.dead_letters.requeue(chosen) if outbox else 0
    if not count:
        say("nothing to send again")
        return
    when = "the worker sends at its next look" if worker_lock.is_held(home) else "goes out at the next `notify start`"
    say(f"{plural(count, 'notification')} back in the queue: {when}")


class UsageError(NotifyError):
    """An option or argument that cannot be used."""

    exit_code = 2


@contextlib.contextmanager
def outbox_of(home: Home) -> Iterator[SqliteOutbox | None]:
    """The outbox of `home`, without repairing it; None before the first start."""
    if not home.outbox.exists():
        yield None
        return
    outbox = SqliteOutbox(home.outbox, repair=False)
    try:
        yield outbox
    finally:
        outbox.close()


def none_yet(home: Home) -> str:
    """The sentence for a home without notifications."""
    if worker_lock.is_held(home):
        return f"No notifications yet in {home.root}"
    command = "`notify start`" if home.config.exists() else "`notify init`"
    return f"No notifications yet in {home.root}; run {command}"


def _stuck(home: Home, outbox: SqliteOutbox) -> list[NotificationRecord]:
    """Dead letters, and those of unknown outcome whose transport does not send them again by itself.

    All of unknown outcome where nobody can tell, as when the environment lacks a secret: none is forgotten.
    """
    try:
        holding = load(home).holding
    except ConfigError as error:
        warn(str(error))
        return outbox.dead_letters.all()
    return [letter for letter in outbox.dead_letters.all() if letter.state == "dead" or letter.transport in holding]


def _named(outbox: SqliteOutbox | None, text: str) -> str:
    """The id that begins with `text`."""
    found = outbox.dead_letters.states(text.lower()) if outbox and re.fullmatch(r"[0-9a-fA-F]{4,32}", text) else {}
    if not found:
        raise NotifyError(
            f"no notification is called {escape(text)!r}",
            hint="`notify dead-letters` lists them with their ids",
        )
    if len(found) > 1:
        raise NotifyError(f"{plural(len(found), 'notification')} begin with {text!r}", hint="say more of the id")
    name, state = next(iter(found.items()))
    if state not in {"dead", "unknown"}:
        why = {
            "sent": "was sent and is not sent again",
            "skipped": "was never meant to be sent",
            "withheld": "is withheld; `notify history --state withheld` shows why",
        }
        raise NotifyError(f"{name[:SHORT]} {why.get(state, 'waits already')}")
    return name


def moment_of(text: str) -> float:
    """Seconds since 1970 of `2h` or `3d` ago, or of an ISO 8601 date or time, which is local unless it has an offset.

    Raises:
        NotifyError: it is neither.
    """
    why = ""
    try:
        return time.time() - parse_duration(text)
    except DurationRangeError as error:
        why = f": {error}"
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{escape(text)!r} is not a time{why}",
            hint="use one such as 2h, 3d, 2026-01-15 or 2026-01-15T15:30, in local time",
        ) from None


def as_object(letter: NotificationRecord) -> dict[str, object]:
    """A notification for machines."""
    return {
        "id": letter.id,
        "state": letter.state,
        "event": letter.kind,
        "entity": letter.entity,
        "recipient": letter.recipient,
        "audience": letter.audience,
        "transport": letter.transport,
        "route": letter.route,
        "reason": letter.reason,
        "created_at": iso(letter.created_at),
        "tried_at": iso(letter.tried_at) if letter.tried_at is not None else None,
        "not_before": iso(letter.not_before) if letter.not_before else None,
        "attempts": letter.attempts,
        "acknowledged_at": iso(letter.acknowledged_at) if letter.acknowledged_at is not None else None,
    }
