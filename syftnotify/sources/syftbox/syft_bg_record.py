"""The record of sent mail that syft-bg's notify service keeps in its state file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syftnotify.core.errors import StateError
from syftnotify.core.kinds import END_KINDS, EventKind
from syftnotify.core.sent_record import SentRecord
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.syft_bg_state import GRANTED_PREFIX, json_object, valid_addresses
from syftnotify.system.files import read_regular_file

_STATE_CAP = 64 << 20  # bytes
# What the record calls the events of a job.
_KINDS: Mapping[str, frozenset[EventKind]] = {
    "new": frozenset({EventKind.JOB_SUBMITTED}),
    "approved": frozenset({EventKind.JOB_APPROVED}),
    "executed": frozenset({EventKind.JOB_COMPLETED}),
    "failed": END_KINDS - {EventKind.JOB_COMPLETED},
}
_REQUESTED_PREFIX, _REQUESTED_SUFFIX = "peer_new_", "_to_do"


def read_sent_record(path: Path) -> SentRecord:
    """The record in the state file `path`; an empty one if there is no file.

    Raises:
        StateError: it cannot be read.
    """
    try:
        state = json_object(read_regular_file(path, _STATE_CAP))
        written_at = path.stat().st_mtime
    except FileNotFoundError:
        return SentRecord()
    except (OSError, UnreadableError) as error:
        hint = "restore it; or move it away, and every job that has ended counts as reported"
        raise StateError(f"syft-bg's record of sent mail, {path}, cannot be read: {error}", hint=hint) from None
    notified, threads, snapshot = (state.get(key) for key in ("notified_jobs", "thread_ids", "peer_snapshot"))
    events = {name: set(value) for name, value in _mapping(notified).items() if _is_text_list(value)}
    kinds = {name: _kinds_of(labels) for name, labels in events.items()}
    requests = [name.removesuffix(_REQUESTED_SUFFIX) for name in events if name.endswith(_REQUESTED_SUFFIX)]
    return SentRecord(
        jobs={name: found for name, found in kinds.items() if found},
        threads={name: thread for name, thread in _mapping(threads).items() if isinstance(thread, str) and thread},
        requested=_addresses(requests, _REQUESTED_PREFIX)
        | valid_addresses(snapshot or () if _is_text_list(snapshot) else ()),
        granted=_addresses(events, GRANTED_PREFIX),
        written_at=written_at,
    )


def _kinds_of(labels: set[str]) -> frozenset[EventKind]:
    """The kinds of the events of a job; those of a peer have none."""
    return frozenset().union(*(_KINDS.get(label, ()) for label in labels))


def _addresses(names: Any, prefix: str) -> frozenset[str]:
    """The addresses behind `prefix` in `names`."""
    return frozenset(valid_addresses(name.removeprefix(prefix) for name in names if name.startswith(prefix)))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
