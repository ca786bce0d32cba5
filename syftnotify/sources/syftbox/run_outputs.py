"""The outputs of a run: how many files there are, and whether the scientist may read them."""

from __future__ import annotations

from typing import Any

from syftnotify.core.models import Job
from syftnotify.sources.syftbox.files.safe_read import UnreadableError
from syftnotify.sources.syftbox.files.yaml_reader import read_yaml
from syftnotify.sources.syftbox.layouts.registry import layout_spec
from syftnotify.sources.syftbox.submission_files import display_path, list_files

_MAX_NAMES = 20  # outputs named in a message
_FOLDER = "outputs"
# The client's access rules; it manages them itself.
_RULES_NAME = "syft.pub.yaml"
_EVERYBODY = "*"
_ALL = "**"  # pattern of all files in a folder


def outputs_of(job: Job) -> dict[str, Any]:
    """The outputs of an ended job as JSON: `outputs`, their number, `output_names`, the first of them, and `shared`.

    `output_folder` is their place in a SyftBox folder, empty if that depends on the release. `shared` is whether the
    submitter may read them, null if that is not known.
    """
    spec = layout_spec(job.layout)
    files = [
        entry
        for entry in list_files(job.base, (*job.results, _FOLDER), collapsed=None)
        if not entry.is_folder and entry.parts[-1] != _RULES_NAME
    ]
    names = [display_path(entry.parts) for entry in files[:_MAX_NAMES]]
    folder = "/".join((job.owner, "app_data", "job", *job.results, _FOLDER)) if spec.has_review_folder else ""
    return {
        "outputs": len(files),
        "output_names": names,
        "output_folder": folder,
        "shared": _is_shared(job) if files else None,
    }


def _is_shared(job: Job) -> bool | None:
    """Whether the submitter may read the outputs, by the client's rule about them, or else about the whole folder.

    The client makes a rule about the outputs of a run, and none about results that the owner deposits.
    """
    if not layout_spec(job.layout).has_review_folder:
        return None
    review, submitter, *folders = job.results
    try:
        rules = read_yaml(job.base, (review, submitter, _RULES_NAME)).get("rules")
    except (FileNotFoundError, UnreadableError):
        return None
    known = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    for pattern in ("/".join([*folders, _FOLDER, _ALL]), _ALL):
        for rule in known:
            if rule.get("pattern") == pattern:
                access = rule.get("access")
                readers = access.get("read") if isinstance(access, dict) else None
                return isinstance(readers, list) and any(reader in (submitter, _EVERYBODY) for reader in readers)
    return None
