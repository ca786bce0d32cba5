"""Copies of submissions, as the owner was notified of them, and what the owner decided.

A scientist can rewrite the files in the tree, so later submissions are compared with these copies.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from syftnotify.core.kinds import Status

# Requirements of PEP 508. One version: `==` without a wildcard, a commit, a hash, or a path.
_ONE_VERSION = re.compile(r"^[^;,@]*===?[^;,*]*(?:;|$)|^[^;]*@\s*\S+(?:@[0-9a-f]{40}|#sha256=[0-9a-f]{64})\b|^\.{0,2}/")
_SOME_VERSIONS = re.compile(r"^[^;]*(?:[<>=~!]=|[<>@])")

TOO_MUCH_CODE = "too much code for one mail"  # why a file is left out


def requests_of(details: Mapping[str, Any]) -> dict[str, Any]:
    """What a job requests, from `Job.details`, as JSON.

    `entrypoint`, `dependencies` {name, versions} and how many more there are, `datasets`. `versions` is which of
    them the requirement allows: `one`, `some` or `any`.
    """
    names = details.get("dependencies") or ()
    return {
        "entrypoint": str(details.get("entrypoint") or ""),
        "dependencies": [{"name": name, "versions": _versions(name)} for name in names],
        "more_dependencies": max(0, int(details.get("dependency_count") or 0) - len(names)),
        "datasets": list(details.get("datasets") or ()),
    }


def _versions(requirement: str) -> str:
    if _ONE_VERSION.search(requirement):
        return "one"
    return "some" if _SOME_VERSIONS.search(requirement) else "any"


@dataclass(frozen=True, slots=True)
class Submission:
    """A copy of one submission of a job."""

    entity: str
    submission_id: str  # `Job.submission_id`
    owner: str
    submitter: str  # whose submissions are compared with each other
    name: str
    fingerprint: str  # of all files; hexadecimal digits
    files: Mapping[str, str] = field(default_factory=dict)  # escaped texts by path, in the order of display
    hashes: Mapping[str, str] = field(default_factory=dict)  # of all files by path, also of those without a text
    status: Status = Status.WAITING  # or APPROVED, REJECTED
    reason: str = ""  # of the decision
    decided_at: str = ""  # ISO 8601 time from the tree; or empty


class SubmissionVersion(NamedTuple):
    """Which content of a submission is stored."""

    fingerprint: str
    recorded_at: float  # seconds since 1970
    has_run: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The owner's decision about a submission."""

    entity: str
    submission_id: str
    status: Status  # APPROVED or REJECTED
    reason: str
    decided_at: str  # ISO 8601 time from the tree; or empty


class SubmissionLog(Protocol):
    """Copies of submissions, and the owner's decisions about them."""

    def record(
        self,
        submissions: Sequence[Submission],
        decisions: Sequence[Decision],
        now: float,
        *,
        ran: Collection[tuple[str, str]] = (),
    ) -> None:
        """Store copies, decisions, and which submissions `ran` (entity and submission id), in one transaction.

        A copy replaces an earlier one of the same submission, whose decision stays recorded. Of the oldest copies of
        its submitter, only the hashes are kept. A decision about a submission without a copy is ignored.
        """

    def versions(self, entities: Collection[str]) -> dict[tuple[str, str], SubmissionVersion]:
        """The versions of the stored copies of `entities`, by entity and submission id."""

    def find(self, entity: str, submission_id: str) -> Submission | None:
        """The copy of one submission."""

    def decided(self, owner: str, submitter: str) -> list[Submission]:
        """The last twenty submissions of one submitter that the owner decided on, the latest submission first."""
