"""Variables of the mail templates: data only; the sentences are in the templates."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from syftnotify.core.code_changes import LineMark
from syftnotify.core.digests import cause_of
from syftnotify.core.failure_output import analyze_failure
from syftnotify.core.kinds import WORKER_KINDS, Audience, EventKind
from syftnotify.core.models import Item
from syftnotify.core.payloads import MAIL_KEYS, PRIVATE_KEYS, TRUSTED_AUDIENCES
from syftnotify.core.text import escape, escape_block
from syftnotify.rendering.code_excerpt import limited_changes, limited_code, limited_names
from syftnotify.rendering.digest import CATEGORIES, category, group_by_submitter, one_per_job
from syftnotify.rendering.fields import (
    NAME_LIMIT,
    error_line,
    event_details,
    job_name,
    parse_time,
    person,
    return_code,
    subject_name,
    submitter,
)
from syftnotify.rendering.links import Links
from syftnotify.rendering.summary import summary_line

DIGEST_ITEMS = 100  # maximum number of items listed in one digest
_MAX_ROWS = 20
_TRACE_LIMIT = 20_000  # characters
_REASON_LIMIT = 2000
_OUTPUT_LINES = 60  # of the end of stderr
_NOISE_LINES = 20
_FINGERPRINT_DIGITS = 20  # 80 bits: nobody finds other files with the same ones
_TONES = {"✕": "failed", "⚠": "warning", "●": "waiting", "✓": "ok"}  # CSS classes
# Payload keys without a row in the table of details: the message shows them elsewhere, or they may be private.
_NO_ROWS_EMITTED = PRIVATE_KEYS | {"name", "error", "step", "url", "user", "return_code"}
# The same for events of the tree, whose payload also has keys that only this program needs.
_NO_ROWS = _NO_ROWS_EMITTED | {
    *("submitter", "claimed", "unverified", "owner", "layout", "status", "incomplete", "approvals_given"),
    *(
        "approvals_needed",
        "submitted_at",
        "summary",
        "minutes",
        "times",
        "outputs",
        "output_folder",
        "shared",
        "shares_logs",
        "can_rerun",
    ),
    *("return_code", "unreadable", "reason", "alert", *MAIL_KEYS),
}


@dataclass(frozen=True, slots=True)
class Reader:
    """The recipient of a mail."""

    address: str
    zone: tzinfo | None = None  # of the times in the mail; None: this machine's


def template_context(item: Item, links: Links, reader: Reader) -> dict[str, Any]:
    """The variables for the template of `item`. docs/mails.md lists them.

    Code and its review are for the owner only, stderr for `TRUSTED_AUDIENCES`; for others they are empty.
    """
    event, payload = item.event, item.event.payload
    name, claimed = str(payload.get("submitter") or ""), str(payload.get("claimed") or "")
    scientist = person(name or claimed)
    is_of_tree = not event.emitted
    return {
        "audience": item.audience.value,
        "recipient": reader.address,
        "kind": event.kind.value,
        "severity": event.severity.value,
        "status": item.status.value,
        "emitted": event.emitted,
        "job_name": job_name(payload),
        "subject_name": subject_name(event),
        "submitter": scientist,
        "user": submitter(event) if event.emitted else "",
        "claimed": bool(claimed and not name),
        "unverified": _is_unverified(item),
        "ds_email": scientist,
        "do_email": escape(str(payload.get("owner") or "")),
        "timestamp": local_time(event.at, reader.zone),
        "detected_at": local_time(item.detected_at, reader.zone),
        "duration": _duration(payload, "approved", "ended"),
        "waited": _duration(payload, "submitted", "approved") or _duration(payload, "submitted", "rejected"),
        "times": {name: local_time(at, reader.zone) for name, at in _times(payload).items()},
        "timed_out": event.kind is EventKind.JOB_TIMEOUT,
        "reason": escape_block(str(payload.get("reason") or "")[:_REASON_LIMIT]).strip(),
        "return_code": return_code(payload),
        "incomplete": bool(payload.get("incomplete")),
        "approvals_given": _count(payload.get("approvals_given")),
        "approvals_needed": _count(payload.get("approvals_needed")),
        "unreadable": escape(str(payload.get("unreadable") or "")) if is_of_tree else "",
        "minutes": payload.get("minutes") if isinstance(payload.get("minutes"), (int, float)) else None,
        "outputs": _count(payload.get("outputs")),
        "output_folder": escape(str(payload.get("output_folder") or ""), limit=500),
        "shared": payload.get("shared") if isinstance(payload.get("shared"), bool) else None,
        "shares_logs": payload.get("shares_logs") is True,
        "can_rerun": payload.get("can_rerun") is True,
        "summary": escape(str(payload.get("summary") or "")),
        # Without its time, which is not in the reader's zone; the mail has it elsewhere.
        "line": summary_line(replace(item, event=replace(event, at=""))),
        "sender": submitter(event),
        "rows": list(_rows(item)),
        "step": escape(str(payload.get("step") or ""), limit=NAME_LIMIT) if event.emitted else "",
        "error": error_line(item),
        "trace": _trace(payload) if event.emitted else "",
        "call": _call(payload),
        **links.of(event),
        **_private_variables(item, reader),
        **_worker_variables(item, reader),
    }


def digest_context(items: Sequence[Item], links: Links, reader: Reader) -> dict[str, Any]:
    """The variables for the template of a digest about `items`, which have one recipient."""
    rows = one_per_job(items)
    categories = Counter(map(category, rows))
    groups, _ = group_by_submitter(rows, DIGEST_ITEMS)
    listed = sum(len(group.items) + group.more for group in groups)
    senders = {submitter(item.event) for item in rows}
    worst = category(rows[0])
    owner = escape(str(items[0].event.payload.get("owner") or ""))
    owners = {str(item.event.payload.get("owner") or "") for item in items}
    is_for_submitter = items[0].audience is Audience.SUBMITTER
    are_jobs = all(item.event.kind.is_about_job for item in rows)
    latest = max(item.detected_at for item in items)
    return {
        "kind": EventKind.DIGEST.value,
        "audience": items[0].audience.value,
        "recipient": reader.address,
        "do_email": owner,
        "status": "",
        "emitted": False,
        "job_name": "",
        "counts": [(name, categories[name]) for name in CATEGORIES if categories[name]],
        "waiting": categories["waiting"],
        "total": len(rows),
        # A change of files is a row besides that of its job.
        "unit": "notification" if categories["files_changed"] or not are_jobs else "job",
        "glyph": CATEGORIES[worst],
        "tone": _TONES[CATEGORIES[worst]],
        "cause": cause_of(items[0].bundle).value,
        "timestamp": local_time(latest, reader.zone),
        "groups": [
            {
                # A submitter's own jobs are listed by the owner at which they are, if it is one.
                "who": owner if is_for_submitter and len(owners) == 1 else group.who,
                "unverified": any(_is_unverified(item) for item in group.items),
                "total": len(group.items) + group.more,
                "more": group.more,
                "rows": [_digest_row(item, links, reader) for item in group.items],
            }
            for group in groups
        ],
        "page_url": links.page and f"{links.page}/inbox",
        "others": len(rows) - listed,
        "other_senders": len(senders) - len(groups),
    }


def _digest_row(item: Item, links: Links, reader: Reader) -> dict[str, Any]:
    payload = item.event.payload
    reason = str(payload.get("reason") or "").strip()
    glyph = CATEGORIES[category(item)]
    is_named = item.event.kind.is_about_job or item.event.emitted
    return {
        "kind": item.event.kind.value if not item.event.emitted else "",
        "audience": item.audience.value,
        "status": item.status.value,
        "name": subject_name(item.event) if is_named else "",
        "line": summary_line(item),
        "reason": escape(reason.splitlines()[0] if reason else "", limit=NAME_LIMIT * 2),
        "error": error_line(item),
        "unreadable": escape(str(payload.get("unreadable") or "")) if not item.event.emitted else "",
        "duration": _duration(payload, "approved", "ended"),
        "at": local_time(item.event.at, reader.zone),
        "glyph": glyph,
        "tone": _TONES[glyph],
        "url": links.of(item.event)["job_url"],
    }


def _is_unverified(item: Item) -> bool:
    """Whether the mail says that nothing confirms the submitter."""
    return bool(item.event.payload.get("unverified")) and item.audience is not Audience.SUBMITTER


def local_time(moment: str | float, zone: tzinfo | None) -> datetime | str:
    """An ISO 8601 time, or seconds since 1970, in `zone`; any other text escaped, 0 as empty text."""
    if not isinstance(moment, str):
        try:
            return datetime.fromtimestamp(moment, zone).astimezone(zone) if moment else ""
        except (OverflowError, OSError, ValueError):  # outside the years that `datetime` supports
            return f"{moment:.0f} s since 1970"
    parsed = parse_time(moment)
    try:
        return parsed.astimezone(zone) if isinstance(parsed, datetime) else parsed
    except (OverflowError, OSError, ValueError):  # the first or last day that `datetime` supports
        return parsed


def _times(payload: Mapping[str, Any]) -> dict[str, str]:
    """The times of the steps of a job of the tree: `submitted`, `approved`, `rejected`, `ended`, as far as known."""
    times = payload.get("times")
    found = times if isinstance(times, Mapping) else {}
    return {name: str(found.get(name) or "") for name in ("submitted", "approved", "rejected", "ended")}


def _duration(payload: Mapping[str, Any], first: str, last: str) -> float | None:
    """The seconds between two steps of a job; None if one has no time, or the times are not plausible."""
    times = _times(payload)
    start, end = (parse_time(times[name]) for name in (first, last))
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        return None
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_NO_FLAGS = {"why": "", "more": 0, "binary": False, "unlisted": False, "executable": False}


def _private_variables(item: Item, reader: Reader) -> dict[str, Any]:
    payload = item.event.payload
    is_of_tree = not item.event.emitted
    is_owner = is_of_tree and item.audience is Audience.OWNER
    code, left_out = limited_code(payload) if is_owner else ([], [])
    review = payload.get("review") if is_owner else None
    return {
        "code": code,
        "code_left_out": [{**_NO_FLAGS, **file} for file in left_out],
        "review": _review(review, reader) if isinstance(review, Mapping) else None,
        "requests": _requests(payload) if is_owner else None,
        "output_names": list(payload.get("output_names") or ()) if is_owner else [],
        **_failure(payload if is_of_tree and item.audience in TRUSTED_AUDIENCES else {}),
    }


def _failure(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of stderr: the exception and its place, the end of the output, the output of tools."""
    stderr = str(payload.get("stderr") or "")
    output = analyze_failure(stderr)
    relevant, noise = output.relevant.splitlines(), output.noise.splitlines()
    frame = output.frame
    return {
        "stderr": stderr,
        "stderr_cut": bool(payload.get("stderr_cut")),
        "exception": escape(output.exception),
        "frame_path": escape(_short_path(frame.path), limit=NAME_LIMIT) if frame else "",
        "frame_line": frame.line if frame else None,
        "frame_function": escape(frame.function, limit=NAME_LIMIT) if frame else "",
        "excerpt": list(payload.get("excerpt") or ()),
        "output": "\n".join(relevant[-_OUTPUT_LINES:]),
        "output_lines": len(relevant),
        "output_omitted": max(0, len(relevant) - _OUTPUT_LINES),
        "noise": "\n".join(noise[-_NOISE_LINES:]),
        "noise_lines": len(noise),
        "noise_omitted": max(0, len(noise) - _NOISE_LINES),
    }


def _short_path(path: str) -> str:
    """The path of a file of the job without the folders above the job's code."""
    return path.rpartition("/code/")[2] if "/code/" in path else path.rpartition("/")[2]


def _call(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What selects the job in a client, each text as a Python literal on one line."""
    call = payload.get("call")
    facts: Mapping[str, Any] = call if isinstance(call, Mapping) else {}
    return {
        "name": literal(facts.get("name") or payload.get("name") or ""),
        "submitted_by": literal(who)
        if (who := facts.get("submitted_by") or payload.get("claimed") or payload.get("submitter"))
        else "",
        "owner": literal(payload.get("owner") or ""),
        "status": literal(facts["status"]) if facts.get("status") else "",
        "can_reject": bool(facts.get("can_reject", str(payload.get("layout")) in {"C", "D"})),
        "is_other_name": bool(facts.get("is_other_name")),
        "config_name": escape(str(facts.get("config_name") or ""), limit=NAME_LIMIT, quoted=True),
    }


def literal(value: Any) -> str:
    """A text as a Python literal, in ASCII if it has characters that are invisible or imitate others."""
    text = str(value)
    shown = repr(text)
    return shown if escape(shown, limit=len(shown)) == shown else ascii(text)


def _requests(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a job requests; None if that is not known."""
    found = payload.get("review") or payload.get("requests")
    if not isinstance(found, Mapping):
        return None
    dependencies = [
        {"name": escape(str(each["name"]), limit=NAME_LIMIT, quoted=True), "versions": str(each.get("versions") or "")}
        for each in found.get("dependencies") or ()
    ]
    datasets = [escape(str(name), limit=NAME_LIMIT, quoted=True) for name in found.get("datasets") or ()]
    shown = limited_names([str(each["name"]) for each in dependencies]), limited_names(datasets)
    return {
        "entrypoint": escape(str(found.get("entrypoint") or ""), limit=NAME_LIMIT, quoted=True),
        "dependencies": dependencies[: shown[0]],
        "more_dependencies": len(dependencies) - shown[0] + int(found.get("more_dependencies") or 0),
        "datasets": datasets[: shown[1]],
        "more_datasets": len(datasets) - shown[1],
    }


def _review(review: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    comparison = review.get("comparison")
    fingerprint = str(review.get("fingerprint") or "")[:_FINGERPRINT_DIGITS]
    return {
        "fingerprint": " ".join(fingerprint[index : index + 4] for index in range(0, len(fingerprint), 4)),
        "fingerprint_complete": bool(review.get("fingerprint_complete")),
        "file_count": int(review.get("file_count") or 0),
        "written_count": int(review.get("written_count") or 0),
        "hints": list(review.get("hints") or ()),
        "more_hints": int(review.get("more_hints") or 0),
        "partly_read": list(review.get("partly_read") or ()),
        "script_runs_other": bool(review.get("script_runs_other")),
        "has_history": bool(review.get("has_history")),
        "comparison": _comparison(comparison, reader) if isinstance(comparison, Mapping) else None,
    }


def _comparison(comparison: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    reason = str(comparison.get("reason") or "").strip()
    changes, more = limited_changes(comparison.get("changes") or ())
    return {
        "name": escape(str(comparison.get("name") or ""), limit=NAME_LIMIT, quoted=True),
        "status": str(comparison.get("status") or ""),
        "reason": escape(reason.splitlines()[0] if reason else "", limit=NAME_LIMIT * 2, quoted=True),
        "is_proven": bool(comparison.get("is_proven")),
        "decided_at": local_time(str(comparison.get("decided_at") or ""), reader.zone),
        "identical": bool(comparison.get("identical")),
        "changed": int(comparison.get("changed") or 0),
        "total": int(comparison.get("total") or 0),
        "changes": [_change(change) for change in changes],
        "more_changes": more + int(comparison.get("more_changes") or 0),
    }


def _change(change: Mapping[str, Any]) -> dict[str, Any]:
    """A `FileChange` whose lines are tuples of mark, number and text."""
    lines = [(LineMark(mark).name.lower(), number, text) for mark, number, text in change["lines"]]
    return {**change, "lines": lines}


# Variables of the templates about the worker itself, and their types. Others have them as None.
_WORKER_KEYS: dict[str, type] = {
    **dict.fromkeys(("jobs", "peers", "sent", "queued", "dead", "held", "count", "limit", "excess"), int),
    **dict.fromkeys(("transport", "type", "host", "ends", "sign_in_url"), str),
    "listed": list,
    "sign_ins": dict,
    "needs_sign_in": bool,
}


def _worker_variables(item: Item, reader: Reader) -> dict[str, Any]:
    """The variables of the templates about the worker itself."""
    is_own = item.event.kind in WORKER_KINDS and not item.event.emitted
    payload = item.event.payload if is_own else {}
    values = {key: payload.get(key) for key in _WORKER_KEYS}
    found: dict[str, Any] = {
        key: value if isinstance(value, _WORKER_KEYS[key]) else None for key, value in values.items()
    }
    sign_ins: dict[str, Any] = found["sign_ins"] or {}
    found["sign_ins"] = {name: local_time(str(at), reader.zone) for name, at in sign_ins.items()}
    ends_at = local_time(str(payload.get("ends_at") or ""), reader.zone)
    cause = escape(str(payload.get("reason") or payload.get("detail") or ""), limit=_REASON_LIMIT)
    return {**found, "alert": str(payload.get("alert") or ""), "ends_at": ends_at, "cause": cause}


def _rows(item: Item) -> Iterator[tuple[str, Any]]:
    """Label and text of the remaining details of an event, for the general template."""
    event = item.event
    hidden = _NO_ROWS_EMITTED if event.emitted else _NO_ROWS
    if event.kind is EventKind.JOB_LONG_RUNNING:  # the sentence has them
        hidden = hidden | {"minutes"}
    shown = 0
    for name, value in event_details(event).items():
        if name in hidden or value in (None, "", [], {}):
            continue
        shown += 1
        if shown > _MAX_ROWS:
            return
        yield escape(str(name).replace("_", " ").capitalize(), limit=NAME_LIMIT), escape(_flat(value))


def _flat(value: Any) -> str:
    """A JSON value on one line."""
    if isinstance(value, list) and not any(isinstance(element, (list, dict)) for element in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _trace(payload: Mapping[str, Any]) -> str:
    """The end of an emitted error that has several lines, such as a traceback; otherwise empty."""
    text = str(payload.get("error") or "").strip()
    return escape_block(text[-_TRACE_LIMIT:]) if "\n" in text else ""
