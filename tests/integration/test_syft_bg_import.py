"""`notify init --from-syft-bg`, with homes that syft-bg's own code wrote."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from syftnotify.system import worker_lock
from tests.fakes.google import Google
from tests.queries import file_states, read_config
from tests.support import ANA, BO, OWNER, Box
from tests.syft_bg import reported, restore_syft_bg

pytestmark = pytest.mark.check_only


NOTIFY = {"interval": 5, "monitor_jobs": True, "monitor_peers": True}
START = {"on_start": True}
IMPORT = ("init", "--from-syft-bg", "--no-test")


@pytest.fixture
def syft_bg(box: Box) -> Path:
    """The home of syft-bg 0.3.12, which stopped some time before the last changes of the tree."""
    box.home.config.unlink()
    restore_syft_bg(box, "0.3.12")
    return box.folder / ".syft-bg"


def edit_record(home: Path, change: Any) -> None:
    """Change the state file of its notify service as the service does, which then has a later time."""
    path = home / "notify" / "state.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def delete_jobs(box: Box, *, keep: Collection[str]) -> None:
    """Delete the jobs of the tree except those with the names `keep`."""
    for folder in box.folder.glob(f"SyftBox_{OWNER}/{OWNER}/app_data/job/inbox/*/v1/*"):
        if folder.name not in keep:
            shutil.rmtree(folder)


def test_import_sends_what_syft_bg_owes_and_nothing_twice(box: Box) -> None:
    """B05: and what happened since it stopped that it never reports."""
    box.home.config.unlink()
    recording = restore_syft_bg(box, "0.3.12")
    box.notify(*IMPORT, "--transport", "maildir", check=0)

    box.notify("run", "--once", check=0)

    beyond = Counter(
        [
            ("job_completed", OWNER, "done-1"),  # a rerun
            ("job_completed", ANA, "done-1"),
            ("job_rejected", ANA, "new-3"),
            ("job_failed", BO, "new-2"),
            ("job_submitted", OWNER, "same"),  # of another scientist than the one that syft-bg reported
            ("job_submitted", BO, "same"),
        ]
    )
    assert reported(box) == recording.would_still_send + beyond
    repeated = set(reported(box) & recording.sent)
    assert repeated == {
        ("job_completed", OWNER, "done-1"),
        ("job_completed", ANA, "done-1"),
        ("job_submitted", OWNER, "same"),
    }


def test_import_of_an_old_release_uses_its_folder_in_place(box: Box) -> None:
    """B05: its sections for other services stay."""
    recording = restore_syft_bg(box, "0.3.6")
    home = ("--home", str(box.folder / ".syft-creds"))
    box.notify(*home, *IMPORT, "--transport", "maildir", check=0)

    box.notify(*home, "run", "--once", check=0)

    config = read_config(box.folder / ".syft-creds")
    assert config["notify"]["interval"] == 30
    assert config["approve"]["jobs"] == {"enabled": True, "peers": {}}
    assert "heartbeat" not in config
    sent = reported(box, *home)
    # This release asks Google Drive for peers, so nothing on this machine shows the requests since it stopped.
    owed = {each for each in recording.would_still_send if each[0].startswith("job_")}
    assert owed - sent.keys() == set()
    assert not sent & recording.sent


def test_imported_settings_are_those_of_syft_bg(box: Box, syft_bg: Path) -> None:
    """S15."""
    before = file_states(syft_bg)
    done = box.notify(*IMPORT, check=0)

    config = read_config(box.home.root)
    assert config["do_email"] == OWNER
    assert config["syftbox_root"] == str(box.folder / f"SyftBox_{OWNER}")
    assert config["notify"] == NOTIFY
    assert config["heartbeat"] == {"daily": "08:00", "on_start": True}
    assert config["transports"] == {
        "mail": {
            "type": "gmail",
            "token": str(syft_bg / "token.json"),
            "credentials": str(syft_bg / "credentials.json"),
        }
    }
    assert "`heartbeat_enabled` as `heartbeat: {daily: 08:00, on_start: true}`" in done.stdout
    assert f"the Gmail sign-in {syft_bg / 'token.json'}" in done.stdout
    assert "15 still to be notified" in done.stdout
    assert file_states(syft_bg) == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("heartbeat_interval: 86400", "heartbeat_interval: 21600", {"heartbeat": {"every": "21600s", **START}}),
        ("heartbeat_interval: 86400", "heartbeat_interval: 1", {"heartbeat": {"every": "60s", **START}}),
        ("heartbeat_enabled: true", "heartbeat_enabled: false", {"heartbeat": None}),
        ("monitor_peers: true", "monitor_peers: false", {"notify": {**NOTIFY, "monitor_peers": False}}),
        ("  heartbeat_enabled: true\n  heartbeat_interval: 86400\n", "", {"heartbeat": {"daily": "08:00", **START}}),
    ],
    ids=["interval", "too-short", "off", "peers-off", "default"],
)  # fmt: skip
def test_import_converts_settings(box: Box, syft_bg: Path, old: str, new: str, expected: dict[str, Any]) -> None:
    """S15."""
    config = syft_bg / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))

    box.notify(*IMPORT, check=0)

    found = read_config(box.home.root)
    assert {key: found.get(key) for key in expected} == expected


def test_import_from_another_folder_reads_peers_there(box: Box, syft_bg: Path) -> None:
    """S15: the paths in its configuration are those before it was moved."""
    moved = syft_bg.rename(box.folder / "elsewhere")

    box.notify(*IMPORT, "--syft-bg-home", str(moved), check=0)

    config = read_config(box.home.root)
    assert config["notify"]["sync_state_path"] == str(moved / "sync" / "state.json")
    assert config["transports"]["mail"]["token"] == str(moved / "token.json")


def test_options_replace_imported_settings(box: Box, syft_bg: Path) -> None:
    """S16."""
    done = box.notify(*IMPORT, "--interval", "1m", "--transport", "maildir", "--no-notify-peers", check=0)

    config = read_config(box.home.root)
    assert config["notify"] == {"interval": "1m", "monitor_jobs": True, "monitor_peers": False}
    assert config["transports"] == {"mail": {"type": "maildir"}}
    assert "Gmail" not in done.stdout


def test_mail_continues_the_conversations_of_syft_bg(box: Box, syft_bg: Path, google: Google) -> None:
    """B04: each mail to the owner about a job that syft-bg reported."""
    google.write_token(syft_bg / "token.json")
    delete_jobs(box, keep={"approved-1", "waiting-1"})  # more become a digest
    box.notify(*IMPORT, check=0)
    config = box.home.config
    config.write_text(
        config.read_text().replace("type: gmail", f"type: gmail\n    api_endpoint: {google.url}\n    rate: 1000")
    )

    box.notify("run", "--once", check=0)

    threads = json.loads((syft_bg / "notify" / "state.json").read_text())["thread_ids"]
    found = {post.mail["X-SyftNotify-Entity"]: post.thread for post in google.posts if post.to == OWNER}
    for name in ("approved-1", "waiting-1"):
        assert [thread for entity, thread in found.items() if entity.endswith(f"/{name}")] == [threads[name]]


@pytest.mark.thorough
def test_import_may_be_repeated_with_a_newer_record(box: Box, syft_bg: Path) -> None:
    """B05: the notify service went on for a while."""
    box.notify(*IMPORT, "--transport", "maildir", check=0)
    edit_record(
        syft_bg, lambda state: state["notified_jobs"].update({"new-1": ["new"], "waiting-1": ["new", "approved"]})
    )

    done = box.notify(*IMPORT, check=0)
    box.notify("run", "--once", check=0)

    assert "11 still to be notified" in done.stdout
    assert not [each for each in reported(box) if each[2] == "new-1" or each[::2] == ("job_approved", "waiting-1")]


def test_import_without_sent_mail_applies_the_rules_of_a_first_scan(box: Box, syft_bg: Path) -> None:
    """B05."""
    edit_record(syft_bg, lambda state: state.clear())

    done = box.notify(*IMPORT, "--transport", "maildir", check=0)

    assert "it has sent no mail" in done.stdout
    assert not box.home.state.exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_damaged_record_is_an_error_and_nothing_is_written(box: Box, syft_bg: Path, content: bytes) -> None:
    """S15."""
    (syft_bg / "notify" / "state.json").write_bytes(content)

    done = box.notify(*IMPORT, check=1)

    assert "state.json" in done.stderr
    assert not box.home.config.exists()


@pytest.mark.parametrize(
    "state", ['{"notified_jobs": 3, "thread_ids": [], "peer_snapshot": "x"}', '{"notified_jobs": {"a": 1, "b": [7]}}']
)
def test_record_of_other_types_counts_as_empty(box: Box, syft_bg: Path, state: str) -> None:
    """X11."""
    (syft_bg / "notify" / "state.json").write_text(state)

    assert "it has sent no mail" in box.notify(*IMPORT, check=0).stdout


def test_import_with_a_running_notify_service_warns(box: Box, syft_bg: Path) -> None:
    """S15: also that the sync service does not run."""
    (syft_bg / "notify" / "daemon.pid").write_text(str(os.getpid()))

    done = box.notify(*IMPORT, check=0)

    assert f"its notify service runs (pid {os.getpid()})" in done.stderr
    assert "syft-bg stop notify" in done.stderr
    assert "its sync service does not run" in done.stderr


def test_import_while_a_worker_runs_is_an_error_and_nothing_is_written(box: Box, syft_bg: Path) -> None:
    """S16."""
    with worker_lock.acquire(box.home):
        done = box.notify(*IMPORT, check=1)

    assert "notify stop" in done.stderr
    assert not box.home.config.exists()


def test_jobs_that_are_not_monitored_are_not_owed(box: Box, syft_bg: Path) -> None:
    """S15: when they are monitored later, the rules of a first scan apply."""
    done = box.notify(*IMPORT, "--no-notify-jobs", "--transport", "maildir", check=0)
    assert "2 still to be notified" in done.stdout  # about peers

    box.notify("init", "--notify-jobs", "--no-test", check=0)
    box.notify("run", "--once", check=0)

    assert {each for each in reported(box) if each[0].startswith("job_")} <= {
        ("job_submitted", OWNER, "new-1"),
        ("job_submitted", OWNER, "same"),
    }


def test_import_without_syft_bg_is_an_error(box: Box) -> None:
    """S16."""
    assert "--syft-bg-home DIR" in box.notify(*IMPORT, check=2).stderr
    assert "--from-syft-bg" in box.notify("init", "--syft-bg-home", "x", check=2).stderr


@pytest.mark.parametrize("name", [".syft-bg", ".syft-bg/notify-home"])
def test_home_in_the_folder_of_syft_bg_is_refused(box: Box, syft_bg: Path, name: str) -> None:
    """S15: syft-bg rewrites the configuration there."""
    for command in (("init", "--email", OWNER), ("start",), ("run", "--once")):
        done = box.notify("--home", str(box.folder / name), *command, check=2)

        assert "is in the folder of syft-bg" in done.stderr
        assert "notify init --from-syft-bg" in done.stderr


def test_init_without_a_terminal_names_the_import(box: Box, syft_bg: Path) -> None:
    """S16."""
    done = box.notify("init", "--email", OWNER, "--transport", "maildir", "--no-test", check=0)

    assert "`notify init --from-syft-bg`" in done.stdout
    assert "heartbeat" not in read_config(box.home.root)
