"""How is a notification worded? Events in, one message out: subject, text, HTML, headers."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import css_inline

from syftnotify.core.identifiers import is_address, stable_hash
from syftnotify.core.kinds import Audience, EventKind, Severity, Status
from syftnotify.core.models import Event, Item, Message
from syftnotify.core.text import escape, escape_block, plural
from syftnotify.rendering.templates import TemplateRenderer, format_datetime, format_duration

# A mail shows at most so much code, counted as HTML: Gmail clips a mail at 102 KB.
CODE_CAP = 80 * 1024
_FRAME = 600  # bytes of HTML around the text of one file
DIGEST_ITEMS = 100
_NAME_CAP = 120
# Gmail refuses a mail with more than 500 KB of headers, or 5,000 of them.
_MOST_HEADERS = 2000
_HEADERS_CAP = 200 * 1024  # bytes of entity ids in headers

# By event kind, and whether the recipient is the owner or an operator. What is not here has the template `event`.
TEMPLATES: dict[tuple[EventKind, bool], str] = {
    (kind, is_owner): name
    for kind in EventKind
    for is_owner, name in ((True, kind.spec.owner_template), (False, kind.spec.submitter_template))
    if name != "event" and kind is not EventKind.DIGEST
}

# Who has templates of their own; anybody else gets the general one.
_ROLES_OF_MAIL = frozenset({Audience.OWNER, Audience.OPERATOR, Audience.SUBMITTER})
_TRUSTED = frozenset({Audience.OWNER, Audience.OPERATOR, Audience.RECIPIENT})
# Parts of a payload that no webhook and no general mail carries: a run may have printed private data.
PRIVATE = frozenset({"code", "code_left_out", "stderr", "stderr_cut"})
_MOST_ROWS = 20
_TRACE_CAP = 20_000  # characters

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def inline_css(text: str) -> str:
    """HTML with its styles at the elements, where every mail program finds them; dark-mode rules stay above."""
    return _inliner.inline(text)


@dataclass(frozen=True, slots=True)
class Links:
    """Address templates, empty where unset."""

    job: str = ""
    results: str = ""
    peer: str = ""

    def of(self, event: Event) -> dict[str, str]:
        """The addresses for `event`: `job_url`, `results_url`, `peer_url`, empty where unset."""
        payload = event.payload
        values = {
            "job": quote(str(payload.get("name") or ""), safe="", errors="replace"),
            "owner": quote(str(payload.get("owner") or ""), safe="@"),
            "submitter": quote(str(payload.get("submitter") or ""), safe="@", errors="replace"),
            "peer": quote(str(payload.get("submitter") or ""), safe="@", errors="replace"),
            "entity": quote(event.entity, safe=""),
        }
        is_of_job = event.kind.value.startswith("job_") and bool(values["job"])
        job_url = self.job.format_map(values) if is_of_job else ""
        return {
            # An emitted event is its operator's word, and may know its own page.
            "job_url": job_url or (_web_address(payload.get("url")) if event.emitted else ""),
            "results_url": self.results.format_map(values) if is_of_job else "",
            "peer_url": self.peer.format_map(values),
        }


def _web_address(value: Any) -> str:
    is_one = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if is_one and " " not in value else ""


class EmailRenderer:
    """Words notifications with the templates of one home."""

    def __init__(
        self, renderer: TemplateRenderer, *, sender: str, links: Links, prefix: str = "", body: str = "both"
    ) -> None:
        """`prefix` stands before each subject; `body` is both, plain or html."""
        self._renderer = renderer
        self._sender = sender
        self._links = links
        self._prefix = prefix
        self._body = body

    def message(self, items: Sequence[Item], recipient: str, *, thread: str = "", digest: str = "") -> Message:
        """The one message that tells `recipient` all of `items`; `digest` is its id where it is one."""
        message = self._digest(items, recipient, digest) if digest else self._single(items, recipient, thread)
        return replace(
            message,
            subject=f"{self._prefix} {message.subject}".lstrip(),
            text=message.text if self._body != "html" else "",
            html=message.html if self._body != "plain" else "",
        )

    def _single(self, items: Sequence[Item], recipient: str, thread: str) -> Message:
        (item,) = items
        context = self._context(item)
        name = "event"
        if item.audience in _ROLES_OF_MAIL and not item.event.emitted:
            name = TEMPLATES.get((item.event.kind, item.audience in {Audience.OWNER, Audience.OPERATOR}), name)
        return Message(
            id=item.id,
            recipient=recipient,
            subject=_subject(item),
            text=self._renderer.render(f"emails/{name}.txt", context),
            html=inline_css(self._renderer.render(f"emails/{name}.html", context)),
            sender=self._sender,
            conversation=stable_hash("conversation", item.event.entity, recipient),
            headers=_headers(item.event.kind.value, item.audience, [item.event.entity]),
            thread=thread,
        )

    def _digest(self, items: Sequence[Item], recipient: str, identity: str) -> Message:
        waiting = all(
            item.event.kind is EventKind.PEER_REQUESTED
            or (item.event.kind is EventKind.JOB_SUBMITTED and item.standing is Status.WAITING)
            for item in items
        )
        audience = items[0].audience
        if waiting and audience is Audience.OWNER:
            summary = f"{plural(len(items), 'request waits', 'requests wait')} for you."
        else:
            # True of all that gathers: time off, quiet hours, storms, `digest`.
            summary = f"{plural(len(items), 'thing')} happened."
        groups, others = group_by_submitter(items, DIGEST_ITEMS)
        context = {"summary": summary, "groups": [self._group(group) for group in groups], "others": others}
        return Message(
            id=identity,
            recipient=recipient,
            subject=f"SyftBox: {summary.rstrip('.')}",
            text=self._renderer.render("emails/digest.txt", context),
            html=inline_css(self._renderer.render("emails/digest.html", context)),
            sender=self._sender,
            conversation=stable_hash("conversation", identity, recipient),
            headers=(
                *_headers(
                    EventKind.DIGEST.value, audience, _fitting([item.event.entity for item in _rarest_first(items)])
                ),
                ("X-SyftNotify-Items", str(len(items))),
            ),
        )

    def _group(self, group: Group) -> dict[str, Any]:
        lines = [{"line": summary_of(item), "url": self._links.of(item.event)["job_url"]} for item in group.items]
        return {"who": group.who, "lines": lines, "more": group.more}

    def _context(self, item: Item) -> dict[str, Any]:
        """The variables of the seed's templates, and what a message may say beyond them."""
        payload = item.event.payload
        submitter, claimed = str(payload.get("submitter") or ""), str(payload.get("claimed") or "")
        context: dict[str, Any] = {
            "audience": item.audience.value,
            "status": item.standing.value,
            "job_name": _name(payload),
            "submitter": _person(submitter or claimed) + _mark(item),
            "claimed": bool(claimed and not submitter),
            "ds_email": _person(submitter or claimed),
            "do_email": escape(str(payload.get("owner") or "")),
            "timestamp": moment_of(item.event.at),
            "zone": "UTC",
            "duration": None,
            "timed_out": item.event.kind is EventKind.JOB_TIMEOUT,
            "reason": escape(str(payload.get("reason") or ""), limit=2000),
            "return_code": _return_code(payload),
            "incomplete": bool(payload.get("incomplete")),
            "unreadable": _unreadable(payload),
            "summary": escape(str(payload.get("summary") or "")),
            "detail": escape(str(payload.get("detail") or ""), limit=2000),
            "figures": payload.get("figures") or [],
            "line": summary_of(item),
            "rows": _rows(item),
            "severity": item.event.severity.value,
            "error": error_for(item),
            "trace": _trace(payload) if item.event.emitted else "",
            **self._links.of(item.event),
        }
        # Code and stderr can hold private data: who is not the owner, nor named by the owner, gets neither.
        if item.audience in _TRUSTED and not item.event.emitted:
            context["stderr"] = payload.get("stderr") or ""
            context["stderr_cut"] = bool(payload.get("stderr_cut"))
        if item.audience is Audience.OWNER and not item.event.emitted:
            context["code"], context["code_left_out"] = _code(payload)
        return context


@dataclass(frozen=True, slots=True)
class Group:
    """What a digest says of one submitter."""

    who: str
    items: list[Item]
    more: int  # that there was no room for


def group_by_submitter(items: Iterable[Item], room: int) -> tuple[list[Group], str]:
    """`items` by submitter, the worst first; and in words what nobody is named for.

    There is room for so many items. The submitters take turns in filling it: whoever floods hides nobody else.
    """
    by_whom: dict[str, list[Item]] = {}
    for item in sorted(items, key=_rank):
        by_whom.setdefault(_who(item.event), []).append(item)
    order = sorted(by_whom.items(), key=lambda pair: (_rank(pair[1][0]), len(pair[1])))
    listed = Counter[str]()
    turns = [who for turn in range(room) for who, own in order if turn < len(own)]
    listed.update(turns[:room])
    groups = [Group(who, own[: listed[who]], len(own) - listed[who]) for who, own in order if listed[who]]
    rest = [len(own) for who, own in order if not listed[who]]
    return groups, f"{sum(rest)} more from {plural(len(rest), 'other')}" if rest else ""


def _rank(item: Item) -> int:
    return list(Severity).index(item.event.severity)


def _rarest_first(items: Sequence[Item]) -> list[Item]:
    """Those first of whom there are the fewest: whoever floods hides nobody else."""
    owner_suffix = Counter(_who(item.event) for item in items)
    return sorted(items, key=lambda item: owner_suffix[_who(item.event)])


def _name(payload: Mapping[str, Any]) -> str:
    """The job's name, as it can stand between quotation marks."""
    return escape(str(payload.get("name") or ""), limit=_NAME_CAP, quoted=True)


def _what(event: Event) -> str:
    """What it is about, for quotation marks: a job's name, a workflow's, or the entity of an emitted event."""
    workflow = escape(str(event.payload.get("workflow_name") or ""), limit=_NAME_CAP, quoted=True)
    return _name(event.payload) or workflow or escape(event.entity, limit=_NAME_CAP, quoted=True)


def _return_code(payload: Mapping[str, Any]) -> int | str | None:
    """The return code; an emitted one may be anything."""
    code = payload.get("return_code")
    return code if code is None or isinstance(code, int) else escape(str(code), limit=_NAME_CAP)


def _trace(payload: Mapping[str, Any]) -> str:
    """What an emitter gave as the error, as a block, where it has several lines."""
    text = str(payload.get("error") or "").strip()
    return escape_block(text[-_TRACE_CAP:]) if "\n" in text else ""


# Not in rows: what has its own place in the message, what may be private; of a job of the tree also our own data.
_NOT_ROWS_OF_EMITTED = PRIVATE | {"name", "error"}
_NOT_ROWS = _NOT_ROWS_OF_EMITTED | frozenset(
    {
        "submitter",
        "claimed",
        "unverified",
        "owner",
        "layout",
        "status",
        "incomplete",
        "submitted_at",
        "summary",
        "detail",
        "figures",
    }
    | {"minutes"}
)


def _rows(item: Item) -> list[tuple[str, str]]:
    """What else is known of an event, for the general template."""
    event = item.event
    rows = [] if event.emitted else [("Owner", escape(str(event.payload.get("owner") or "")))]
    hidden = _NOT_ROWS_OF_EMITTED if event.emitted else _NOT_ROWS
    hidden |= {"minutes"} if event.kind is EventKind.JOB_LONG_RUNNING else frozenset()
    rows += [
        (escape(str(name).replace("_", " ").capitalize(), limit=_NAME_CAP), escape(_flat(value)))
        for name, value in details_of(event).items()
        if name not in hidden and value not in (None, "", [], {})
    ]
    moment = moment_of(item.event.at)
    when = f"{format_datetime(moment)}{' UTC' if isinstance(moment, datetime) else ''}" if moment else ""
    return [(name, value) for name, value in [*rows[:_MOST_ROWS], ("When", when)] if value]


def _flat(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(each, (list, dict)) for each in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_NOBODY = "an unnamed scientist"
_UNVERIFIED = " (unverified: no peer record)"


def user_of(event: Event) -> Any:
    """Whose the event's job or reservation is, for display: what `--user` gave goes before the payload."""
    payload = event.payload
    return event.routing.get("user") or payload.get("submitter") or payload.get("claimed") or payload.get("user")


def details_of(event: Event) -> dict[str, Any]:
    """What is shown of an event beyond its kind: the payload, and the user and tags of its routing."""
    return {**{name: event.routing[name] for name in ("user", "tags") if name in event.routing}, **event.payload}


def _who(event: Event) -> str:
    return _person(str(user_of(event) or "")) or _NOBODY


def _person(who: str) -> str:
    """An address as it is; any other name between quotation marks, so that it cannot pass for our own text."""
    return who if not who or is_address(who) else f'"{escape(who, limit=_NAME_CAP, quoted=True)}"'


def _mark(item: Item) -> str:
    """Suffix of a submitter without a peer record, in messages to anyone but the submitter."""
    is_marked = bool(item.event.payload.get("unverified")) and item.audience is not Audience.SUBMITTER
    return _UNVERIFIED if is_marked else ""


def _subject(item: Item) -> str:
    """One stable subject for each conversation: mail programs thread by it, and the first line tells the news."""
    event, payload = item.event, item.event.payload
    is_owner = item.audience is Audience.OWNER
    owner = escape(str(payload.get("owner") or ""), limit=_NAME_CAP)
    if event.kind is EventKind.TEST:
        return "SyftBox: test from syftnotify"
    if event.kind is EventKind.HEARTBEAT:
        return "SyftBox notifier: daily sign of life"
    if event.kind is EventKind.SYSTEM_ALERT:
        return f"SyftBox notifier: {escape(str(payload.get('summary') or 'trouble'))}"
    if event.kind in {EventKind.PEER_REQUESTED, EventKind.PEER_GRANTED}:
        return f"SyftBox peer request from {_who(event)}" if is_owner else f"Your SyftBox peer request to {owner}"
    if item.audience not in _ROLES_OF_MAIL and event.kind in _FAILED:
        return f"{_FAILED[event.kind]} {_what(event)}"
    if event.emitted or not event.kind.value.startswith("job_"):
        return summary_of(item).rstrip(".")
    if item.audience is not Audience.SUBMITTER:
        return f'SyftBox job "{_name(payload)}" from {_who(event)}'
    return f'Your SyftBox job "{_name(payload)}" at {owner}'


# N25: the subjects of alerts.
_FAILED = {EventKind.JOB_FAILED: "FAILED", EventKind.JOB_TIMEOUT: "TIMED OUT"}

# What happened to what, where nothing more is to be said.
_PLAIN = {
    EventKind.JOB_STARTED: "Job {} is running.",
    EventKind.JOB_UPDATED: "Job {} was changed.",
    EventKind.JOB_HELD: "Job {} was put on hold.",
    EventKind.JOB_RELEASED: "Job {} was released.",
    EventKind.JOB_CANCELLED: "Job {} was cancelled.",
    EventKind.JOB_ENABLED: "Job {} was enabled.",
    EventKind.JOB_DISABLED: "Job {} was disabled.",
    EventKind.WORKFLOW_CREATED: "Workflow {} was created.",
    EventKind.WORKFLOW_UPDATED: "Workflow {} was changed.",
    EventKind.WORKFLOW_BUILD_COMPLETED: "Workflow {} was built.",
    EventKind.WORKFLOW_BUILD_FAILED: "Workflow {} could not be built.",
    EventKind.WORKFLOW_TERMINATED: "Workflow {} was terminated.",
    EventKind.GPU_AVAILABLE: "GPU {} is available again.",
    EventKind.RESERVATION_CREATED: "Reservation {} was made.",
    EventKind.RESERVATION_CANCELLED: "Reservation {} was cancelled.",
    EventKind.SCHEDULER_ONLINE: "The scheduler {} is online.",
}


def summary_of(item: Item) -> str:
    """What happened, in one line."""
    payload, kind = item.event.payload, item.event.kind
    name, who = f'"{_what(item.event)}"', _who(item.event)
    by = "" if item.event.emitted and who == _NOBODY else f" from {who}{_mark(item)}"
    if kind in _PLAIN:
        return _PLAIN[kind].format(name)
    code, step = _return_code(payload), payload.get("step")
    ended = f" at step {escape(str(step), limit=_NAME_CAP)}" if step else ""
    ended += f" (return code {code})" if code is not None else ""
    told = {
        EventKind.JOB_APPROVED: f"Job {name} was approved.",
        EventKind.JOB_REJECTED: f"Job {name} was rejected: {escape(str(payload.get('reason') or 'no reason was given'))}",
        EventKind.JOB_COMPLETED: f"Job {name}{by} is done.",
        EventKind.JOB_FAILED: f"Job {name}{by} failed{ended}.",
        EventKind.JOB_LONG_RUNNING: f"Job {name}{by} {_for_long(item, 'running', _ENDED)}.",
        EventKind.JOB_WAITING: f"Job {name}{by} {_for_long(item, 'waiting', _DECIDED)}.",
        EventKind.JOB_TIMEOUT: f"Job {name}{by} ran out of time.",
        EventKind.PEER_REQUESTED: f"{who} wants to work with the data of {escape(str(payload.get('owner') or ''))}.",
        EventKind.PEER_GRANTED: f"{escape(str(payload.get('owner') or ''))} accepted the peer request of {who}.",
        EventKind.SYSTEM_ALERT: escape(str(payload.get("summary") or "")),
    }
    if kind is EventKind.JOB_SUBMITTED:
        if item.audience is Audience.SUBMITTER:
            return f"Job {name} was received."
        since = moment_of(item.event.at)
        when = f" (submitted {format_datetime(since)}{' UTC' if isinstance(since, datetime) else ''})" if since else ""
        words = {Status.WAITING: "waits for you", Status.DONE: "has ended since", Status.FAILED: "has ended since"}
        waits = words.get(item.standing, f"came in and is {item.standing.value}")
        return " ".join(
            filter(None, [f"Job {name}{by} {waits}{when}.", "" if item.event.emitted else _unreadable(payload)])
        )
    return told.get(kind, f"{kind}: {name}")


def _unreadable(payload: Mapping[str, Any]) -> str:
    """One sentence about a job of the tree that cannot be read, or nothing."""
    reason = escape(str(payload.get("unreadable") or ""))
    what = "state" if reason.startswith("state.yaml") else "configuration"
    return f"Its {what} cannot be read ({reason})." if reason else ""


_ENDED = frozenset({Status.DONE, Status.FAILED})
_DECIDED = frozenset(Status) - {Status.WAITING}


def _for_long(item: Item, doing: str, over: frozenset[Status]) -> str:
    """What a reminder is about; it may come late, out of quiet hours or a pause."""
    minutes = _minutes(item.event.payload)
    if item.standing in over:
        return f"had been {doing} for {minutes} and is {item.standing.value} now"
    return f"has been {doing} for {minutes}"


def _minutes(payload: Mapping[str, Any]) -> str:
    """How long a reminder is about."""
    minutes = payload.get("minutes")
    return format_duration(float(minutes) * 60) if isinstance(minutes, (int, float)) else "long"


def _fitting(entities: Sequence[str]) -> Iterator[str]:
    """As many of them as a mail has room to name."""
    room = _HEADERS_CAP
    for entity in entities[:_MOST_HEADERS]:
        room -= len(entity)
        if room < 0:
            return
        yield entity


def _headers(kind: str, audience: Audience, entities: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return (
        ("X-SyftNotify-Event", kind),
        ("X-SyftNotify-Audience", audience.value),
        *(("X-SyftNotify-Entity", entity) for entity in entities),
    )


def error_for(item: Item) -> str:
    """The error in one line, for whom it is: a run may have printed private data."""
    is_theirs = item.audience in _TRUSTED or item.event.emitted
    return _error_of(item.event.payload) if is_theirs else ""


def _error_of(payload: Mapping[str, Any]) -> str:
    """The last line of what a failed run said, which mostly names the error; or what an emitter called so."""
    lines = str(payload.get("stderr") or payload.get("error") or "").strip().splitlines()
    return escape(lines[-1].strip(), limit=300) if lines else ""


def moment_of(text: str) -> datetime | str:
    """An ISO time of the tree in UTC; anything else is shown as it stands."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return escape(text)


def _code(payload: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The files to show, cut to what a mail may hold, and the list of those that are not shown, which is never cut."""
    files: list[dict[str, Any]] = []
    left_out = list(payload.get("code_left_out") or [])
    code = list(payload.get("code") or [])
    room = CODE_CAP - sum(map(_line_size, left_out)) - sum(map(_line_size, code))
    for file in code:
        text = file["text"]
        size = _FRAME + len(html.escape(text).encode("utf-8")) + text.count("\n")  # a line end leaves as two bytes
        if room <= _FRAME:
            left_out.append({"path": file["path"], "why": "too much code for one mail"})
            continue
        if size > room:
            # Worst case: every character grows as the whole text does on average.
            text = text[: len(text) * (room - _FRAME) // size]
        files.append({"path": file["path"], "text": text, "cut": file["cut"] or len(text) < len(file["text"])})
        room -= size
    return files, left_out


def _line_size(item: Mapping[str, Any]) -> int:
    """Bytes of HTML that one line of the list takes at most."""
    return len(html.escape(f"{item['path']} ({item.get('why', 'too much code for one mail')})").encode("utf-8")) + 2
