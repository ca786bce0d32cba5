"""One-line summary of an event, used in digests, chat messages and some mail subjects."""

from __future__ import annotations

from collections.abc import Callable

from syftnotify.core.kinds import Audience, Status
from syftnotify.core.models import Item
from syftnotify.core.text import escape
from syftnotify.rendering.fields import (
    NAME_LIMIT,
    UNNAMED,
    approvals_text,
    return_code,
    subject_name,
    submitter,
    time_label,
    unreadable_notice,
    unverified_suffix,
)
from syftnotify.rendering.filters import format_duration

_ENDED = frozenset({Status.DONE, Status.FAILED})
_DECIDED = frozenset(Status) - {Status.WAITING}


def summary_line(item: Item) -> str:
    """The summary of the event of `item`, for its audience."""
    spec = item.event.kind.spec
    is_for_submitter = item.audience is Audience.SUBMITTER and bool(spec.submitter_summary)
    return fill(spec.submitter_summary if is_for_submitter else spec.summary, item)


def fill(text: str, item: Item) -> str:
    """`text`, a text of an `EventSpec`, with its placeholders replaced by the values of `item`.

    Raises:
        KeyError: `text` has a placeholder that `PLACEHOLDERS` lacks.
    """
    return text.format_map(_Values(item))


class _Values(dict[str, str]):
    """The values of all placeholders for one item, each computed when it is used."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self._item = item

    def __missing__(self, name: str) -> str:
        return PLACEHOLDERS[name](self._item)


def _name(item: Item) -> str:
    return f'"{subject_name(item.event)}"'


def _by(item: Item) -> str:
    """The submitter after a leading blank; empty for an emitted event that has none."""
    who = submitter(item.event)
    return "" if item.event.emitted and who == UNNAMED else f" from {who}{unverified_suffix(item)}"


def _owner(item: Item) -> str:
    return escape(str(item.event.payload.get("owner") or ""))


def _reason(item: Item) -> str:
    return escape(str(item.event.payload.get("reason") or "no reason was given"))


def _ended(item: Item) -> str:
    """The step that failed and the exit code, each with a leading blank; empty if unknown."""
    payload = item.event.payload
    code, step = return_code(payload), payload.get("step")
    at_step = f" at step {escape(str(step), limit=NAME_LIMIT)}" if step else ""
    return f"{at_step} (exit code {code})" if code is not None else at_step


def _waits(item: Item) -> str:
    """The current status of a submitted job, and when it was submitted."""
    awaited = approvals_text(item.event.payload) or ("your review" if item.audience is Audience.OWNER else "review")
    submitted = time_label(item.event.at)
    is_waiting = item.status is Status.WAITING
    label = f"is waiting for {awaited}" if is_waiting else f"is already {item.status.value}"
    return f"{label} (submitted {submitted})" if submitted else label


def _unreadable(item: Item) -> str:
    notice = "" if item.event.emitted else unreadable_notice(item.event.payload)
    return f" {notice}" if notice else ""


def _lasting(item: Item, doing: str, over: frozenset[Status]) -> str:
    """For how long the job has been `doing`, which is over if its current status is in `over`.

    A reminder may be sent late, after quiet hours or a pause.
    """
    minutes = item.event.payload.get("minutes")
    duration = format_duration(float(minutes) * 60) if isinstance(minutes, (int, float)) else "long"
    if item.status in over:
        return f"had been {doing} for {duration} and is {item.status.value} now"
    awaited = approvals_text(item.event.payload) if doing == "waiting" else ""
    return f"has been {doing} for {duration}" + (f" ({awaited})" if awaited else "")


def _summary(item: Item) -> str:
    return escape(str(item.event.payload.get("summary") or ""))


# The placeholders that the texts of an `EventSpec` may contain, each with the function that returns its value.
PLACEHOLDERS: dict[str, Callable[[Item], str]] = {
    "name": _name,
    "who": lambda item: submitter(item.event),
    "by": _by,
    "owner": _owner,
    "reason": _reason,
    "ended": _ended,
    "waits": _waits,
    "unreadable": _unreadable,
    "running_for": lambda item: _lasting(item, "running", _ENDED),
    "waiting_for": lambda item: _lasting(item, "waiting", _DECIDED),
    "summary": _summary,
}
