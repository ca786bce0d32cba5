"""Homes and trees that syft-bg and syft-job wrote, and the mails that syft-bg sent and would still send."""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syftnotify.core.kinds import EventKind
from tests.support import DATA, OWNER, Box

# Which event a method of syft-bg's sender reports. It mails an approval to the owner as well, which is left out here:
# owners are not notified of what they did themselves.
_KINDS = {
    "notify_new_job": EventKind.JOB_SUBMITTED,
    "notify_job_submitted_to_ds": EventKind.JOB_SUBMITTED,
    "notify_job_approved": EventKind.JOB_APPROVED,
    "notify_job_executed": EventKind.JOB_COMPLETED,
    "notify_job_completed_to_do": EventKind.JOB_COMPLETED,
    "notify_job_failed_to_do": EventKind.JOB_FAILED,
    "notify_new_peer_request_to_do": EventKind.PEER_REQUESTED,
    "notify_peer_request_sent": EventKind.PEER_REQUESTED,
    "notify_peer_request_granted": EventKind.PEER_GRANTED,
}

Reported = tuple[str, str, str]  # kind, recipient, name of the job or address of the peer


@dataclass(frozen=True, slots=True)
class SyftBgRecording:
    """What a release of syft-bg left in a home directory."""

    sent: Counter[Reported]
    would_still_send: Counter[Reported]


def restore_syft_bg(box: Box, release: str) -> SyftBgRecording:
    """Restore the recording of `release` in the folder of `box`, which is the home directory of its commands."""
    with tarfile.open(DATA / "syft-bg" / f"{release}.tar.gz") as archive:
        members = archive.getmembers()
        contents = {each.name: file.read() for each in members if (file := archive.extractfile(each)) is not None}
    manifest = json.loads(contents.pop("manifest.json"))
    paths = {each: box.folder / each.name.removeprefix("home/") for each in members if each.name.startswith("home/")}
    for member, path in paths.items():
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(contents[member.name])
            path.chmod(member.mode)
    for member, path in paths.items():  # a file that is created changes the time of its folder
        os.utime(path, (member.mtime, member.mtime))
    for config in box.folder.glob(".syft-*/config.yaml"):
        config.write_text(config.read_text().replace("@HOME@", str(box.folder)))
    return SyftBgRecording(
        *(Counter(map(_reported, _mails(manifest[key]))) for key in ("while_running", "would_still_send"))
    )


def _mails(mails: list[dict[str, str]]) -> list[dict[str, str]]:
    return [mail for mail in mails if mail["call"] in _KINDS]


def _reported(mail: dict[str, str]) -> Reported:
    kind = _KINDS[mail["call"]]
    if kind in {EventKind.PEER_REQUESTED, EventKind.PEER_GRANTED}:
        is_to_owner = mail["to"] == OWNER
        return kind.value, mail["to"], mail["subject"].rpartition(" ")[2] if is_to_owner else mail["to"]
    return kind.value, mail["to"], mail["subject"].rpartition(": ")[2]


def reported(box: Box, *arguments: str) -> Counter[Reported]:
    """What the home has sent, by `notify history`."""
    done = box.notify(*arguments, "history", "-n", "0", "--state", "sent", "--json", check=0)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    jobs_and_peers = [row for row in rows if row["entity"].startswith(("job/", "peer/"))]
    return Counter((row["event"], row["recipient"], Path(row["entity"]).name) for row in jobs_and_peers)
