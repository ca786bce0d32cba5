"""The size of the mail about a job, whatever a scientist puts into it."""

from __future__ import annotations

from typing import Any

import pytest

from syftnotify.core.kinds import Audience, EventKind
from tests.unit.rendering.emails import rendered

ENTRY = {"path": "code/main.py", "text": "evil()\n" * 20, "cut": False, "lines": 20}


def change(path: str, line: str, count: int) -> dict[str, Any]:
    lines = [["+", number, line] for number in range(1, count + 1)]
    return {"path": path, "type": "changed", "added": count, "removed": 0, "lines": lines, "omitted": 0}


def comparison(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"name": "before", "status": "approved", "changed": len(changes), "total": len(changes), "changes": changes}


DOTS = "a." * 50
HOSTILE: dict[str, dict[str, Any]] = {
    "long lines of a diff": {"review": {"comparison": comparison(change("code/a.py", "&" * 300, 160))}},
    "many changed files": {"review": {"comparison": comparison(*(change(DOTS, "x", 5) for _ in range(30)))}},
    "many names": {
        "review": {
            "dependencies": [{"name": "&" * 115, "versions": "any"}] * 50,
            "datasets": ["&" * 115] * 50,
            "hints": [{"topic": "network", "path": DOTS, "line": 1, "text": "&" * 160}] * 12,
        }
    },
    "many files that are left out": {"code_left_out": [{"path": DOTS, "why": "not in the job's list"}] * 300},
    "much other code": {"code": [ENTRY, *({**ENTRY, "path": f"{n}.py", "text": "<" * 50_000} for n in range(9))]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_mail_about_a_job_is_not_clipped_and_shows_the_entry_point(name: str) -> None:
    """C2: nothing takes the place of the entry point; what is left out is counted."""
    payload: dict[str, Any] = {"code": [ENTRY], "code_left_out": [], **HOSTILE[name]}
    message = rendered(EventKind.JOB_SUBMITTED, Audience.OWNER, **payload)

    assert len(message.html.encode()) < 102 * 1024
    assert message.text.count("evil()") == 20


def test_mail_about_a_job_with_everything_hostile_is_not_clipped() -> None:
    """C2"""
    review = {key: value for each in HOSTILE.values() for key, value in each.get("review", {}).items()}
    payload = {key: value for each in HOSTILE.values() for key, value in each.items()} | {"review": review}
    message = rendered(EventKind.JOB_SUBMITTED, Audience.OWNER, **payload)

    assert len(message.html.encode()) < 102 * 1024
    assert message.text.count("evil()") == 20
    assert " more" in message.text
