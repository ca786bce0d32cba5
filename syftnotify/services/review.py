"""What an owner needs to decide about a submission: its code, what has changed, where to read with care.

The result is JSON, stored with the event, so that a mail and a page show the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from syftnotify.core.code_changes import ChangeType, FileChange, compare, most_similar
from syftnotify.core.code_hints import find_hints
from syftnotify.core.kinds import EventKind, Status
from syftnotify.core.models import Job
from syftnotify.core.submissions import TOO_MUCH_CODE, Submission, requests_of
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.submission_content import CodeFile, SubmissionContent

SHOWN_CAP = 80 * 1024  # bytes of code, as UTF-8, in one message
_MAX_DIFF_LINE = 300  # characters of a line of a diff
_MAX_CHANGES = 30  # changed files of a comparison that are listed
_CONFIG_NAME, _SCRIPT_NAME = "config.yaml", "run.sh"
_DECISIONS = {Status.WAITING: Status.WAITING, Status.REJECTED: Status.REJECTED}  # all others are approved
_DECISION_KINDS = frozenset({EventKind.JOB_APPROVED, EventKind.JOB_REJECTED})
_IDENTITY_KEYS = frozenset({"name", "submitted_at"})  # of config.yaml


def review_submission(job: Job, content: SubmissionContent, decided: Iterable[Submission]) -> dict[str, Any]:
    """The review of a new submission, compared with the most similar one in `decided`, the latest first.

    Returns:
        `code`, a list of {path, text, cut, lines}; `code_left_out`, a list of {path, why, binary?, unlisted?,
        executable?}; `review`: what the job requests, the fingerprint, hints and the comparison; `call`, see `call_of`.
    """
    earlier = [each for each in decided if (each.entity, each.submission_id) != (job.entity, job.submission_id)]
    similar = most_similar(_texts(content), earlier)
    comparison = None if similar is None else _comparison(similar, content)
    return _payload(job, content, comparison, has_history=bool(earlier))


def review_change(job: Job, content: SubmissionContent, before: Submission | None) -> dict[str, Any]:
    """The review of a submission whose files differ from those in `before`, of which the owner was notified.

    None: they have changed, but that copy is not kept any more.
    """
    comparison = None if before is None else _comparison(before, content)
    return _payload(job, content, comparison, has_history=True)


def copy_of(job: Job, content: SubmissionContent) -> Submission:
    """The copy of a submission to store, with the decision about it."""
    return Submission(
        job.entity,
        job.submission_id,
        job.owner,
        submitter_of(job),
        job.name,
        content.fingerprint,
        _texts(content),
        content.hashes,
        status=_DECISIONS.get(job.status, Status.APPROVED),
        reason=str(job.details.get("reason") or "") if job.status is Status.REJECTED else "",
        decided_at=next((fact.at for fact in job.facts if fact.kind in _DECISION_KINDS), ""),
    )


def submitter_of(job: Job) -> str:
    """The key of the submissions that are compared with this one. Submitters that only a job claims have their own."""
    return job.submitter.lower() or f"claimed {job.claimed_submitter.lower()}"


def _texts(content: SubmissionContent) -> dict[str, str]:
    return {file.path: file.text for file in content.files}


def _comparison(before: Submission, content: SubmissionContent) -> dict[str, Any]:
    """The differences to `before`: `identical`, `changed` of `total` files, and `changes`, see `FileChange`.

    `lines` of a change are lists of mark, number and text. The client writes run.sh and config.yaml: run.sh counts if
    it has changed, config.yaml if nothing else has. `is_proven`: only the owner can have recorded the decision; the
    marks of older layouts are in a folder that the scientist can write to.
    """
    changes = _changes(before, content)
    paths = {change.path for change in changes}
    counted = paths - {_CONFIG_NAME} or paths
    written = [path for path in content.hashes if path not in {_SCRIPT_NAME, _CONFIG_NAME}]
    return {
        "name": before.name,
        "status": before.status.value,
        "reason": before.reason,
        "decided_at": before.decided_at,
        "is_proven": layout_spec(before.entity.split("/")[1]).has_review_folder,
        "identical": not changes and content.is_complete,
        "changed": len(counted),
        "total": len({*written, *counted}),
        "changes": [_to_json(change) for change in changes[:_MAX_CHANGES]],
        "more_changes": max(0, len(changes) - _MAX_CHANGES),
    }


def _changes(before: Submission, content: SubmissionContent) -> list[FileChange]:
    """The files that differ: those with a text by their lines, all others by their hashes."""
    texts = _texts(content)
    old = {**before.files}
    if _CONFIG_NAME in old and _CONFIG_NAME in texts:
        old[_CONFIG_NAME] = _as_if_submitted_together(old[_CONFIG_NAME], texts[_CONFIG_NAME])
    both = {path for path in texts if path in old}
    changes = compare(
        {path: text for path, text in old.items() if path in both},
        {path: text for path, text in texts.items() if path in both},
    )
    compared = {change.path for change in changes}
    for path in [*content.hashes, *(each for each in before.hashes if each not in content.hashes)]:
        is_cut = any(file.path == path and file.is_cut for file in content.files)
        if path in compared or (path in both and not is_cut) or before.hashes.get(path) == content.hashes.get(path):
            continue
        changes.append(_change_of_other(path, before, content, texts))
    return changes


def _change_of_other(path: str, before: Submission, content: SubmissionContent, texts: Mapping[str, str]) -> FileChange:
    """The change of a file of which the two texts are not known, or are equal as far as they were read."""
    if path not in before.hashes:
        return FileChange(path, ChangeType.ADDED, added=len(texts.get(path, "").splitlines()))
    if path not in content.hashes:
        return FileChange(path, ChangeType.REMOVED, removed=len(before.files.get(path, "").splitlines()))
    return FileChange(path, ChangeType.CHANGED)


def _as_if_submitted_together(before: str, after: str) -> str:
    """The earlier config.yaml with the name and the time of the later one, which differ in any case.

    A line with an escaped character is compared: YAML may take it for the end of a line.
    """
    current = {line.partition(":")[0]: line for line in after.split("\n") if "\\" not in line}
    return "\n".join(
        current.get(key, line) if (key := line.partition(":")[0]) in _IDENTITY_KEYS and "\\" not in line else line
        for line in before.split("\n")
    )


def _to_json(change: FileChange) -> dict[str, Any]:
    lines = [[line.mark.value, line.number, line.text[:_MAX_DIFF_LINE]] for line in change.lines]
    return {
        "path": change.path,
        "type": change.type.value,
        "added": change.added,
        "removed": change.removed,
        "lines": lines,
        "omitted": change.omitted,
    }


def _payload(
    job: Job, content: SubmissionContent, comparison: dict[str, Any] | None, *, has_history: bool
) -> dict[str, Any]:
    changed = {change["path"] for change in comparison["changes"]} if comparison else set()
    files = _in_order(content.files, changed)
    shown, left_out = _limited(files)
    requests = requests_of(job.details)
    requests["entrypoint"] = next((file.path for file in files if file.is_entry_point), requests["entrypoint"])
    hints, more_hints = find_hints((file.path, file.text) for file in files if file.path != _CONFIG_NAME)
    return {
        "code": shown,
        "code_left_out": [*content.left_out, *left_out],
        "review": {
            **requests,
            "fingerprint": content.fingerprint,
            "file_count": content.count,
            "written_count": sum(path not in {_SCRIPT_NAME, _CONFIG_NAME} for path in content.hashes),
            "fingerprint_complete": content.is_complete,
            "hints": [asdict(hint) for hint in hints],
            "more_hints": more_hints,
            "partly_read": [file.path for file in files if file.is_cut],
            "script_runs_other": _runs_other(files, requests["entrypoint"]),
            "comparison": comparison,
            "has_history": has_history,
        },
        "call": call_of(job),
    }


def _runs_other(files: Sequence[CodeFile], entry_point: str) -> bool:
    """Whether run.sh does not contain the name of the entry point, which config.yaml only claims."""
    script = next((file.text for file in files if file.path == _SCRIPT_NAME), "")
    return bool(script and entry_point) and entry_point.rpartition("/")[2] not in script


def _in_order(files: Iterable[CodeFile], changed: set[str]) -> list[CodeFile]:
    """The files in the order of display: what runs, what has changed, the rest, the configuration."""
    return sorted(
        files,
        key=lambda file: (
            file.path == _CONFIG_NAME,
            not file.is_entry_point,
            file.path != _SCRIPT_NAME,
            file.path not in changed,
        ),
    )


def _limited(files: Sequence[CodeFile]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The files that are shown, up to `SHOWN_CAP` and cut at a line end, and those that are left out."""
    shown: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    room = SHOWN_CAP
    for file in files:
        content = file.text.encode("utf-8")
        if len(content) > room and shown and len(content) - room > room:
            left_out.append({"path": file.path, "why": TOO_MUCH_CODE})
            continue
        text = file.text
        if len(content) > room:
            text = content[:room].decode("utf-8", "ignore")
            text = text[: text.rfind("\n") + 1] or text
        shown.append(
            {
                "path": file.path,
                "text": text,
                "cut": file.is_cut,
                "lines": len(file.text.splitlines()),  # of what was read
            }
        )
        room -= len(text.encode("utf-8"))
    return shown, left_out


def call_of(job: Job) -> dict[str, Any]:
    """What selects the job in the owner's client.

    `name` as the client shows it, `submitted_by` (empty: not selected by it), `status`, `can_reject`. `is_other_name`:
    config.yaml has another name than the folder, by which the client would act on another job.
    """
    spec = layout_spec(job.layout)
    name = str(job.details.get("config_name") or "")
    return {
        "name": job.name if spec.names_by_path else name or job.name,
        # Without a submitter in the path, and in B4, the client shows what config.yaml claims.
        "submitted_by": job.claimed_submitter or job.submitter,
        "status": spec.waiting_status,
        "can_reject": spec.can_reject,
        "is_other_name": spec.acts_by_name and bool(name) and name != job.name,
        "config_name": name,
    }
