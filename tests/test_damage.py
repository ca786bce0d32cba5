"""Our own files torn, cut, gone, of a newer version, read-only, on a full disk: said in a clear line, nothing lost."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syftnotify.core.errors import StateError
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from tests.support import ANA, OWNER, PATIENCE, Box, Clock, Mail, Sent, lose_ledger, lose_outbox, mails_in, wait_until
from tests.trees import TREES, Disk, Tree

pytestmark = pytest.mark.fire

HOUR = 3600.0
PAGE = 4096  # bytes of a page of the database, and of the small disk
OWED: list[Sent] = [("job_submitted", "owner", OWNER), ("job_submitted", "submitter", ANA)]


def jobs_of(box: Box) -> Tree:
    return TREES["D"](Disk(box.root, box.clock.time))


def submit(tree: Tree, name: str) -> None:
    tree.submit(name)
    tree.set_state(name, status="pending")  # type: ignore[attr-defined] # layout D has a state


def told(mails: list[Mail]) -> list[Sent]:
    return sorted(mail.told for mail in mails)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A home that has told of three jobs, and owes two mails about a fourth that its Maildir did not take."""
    box = Box(tmp_path_factory.mktemp("original"))
    box.root.mkdir()
    box.configure()
    tree = jobs_of(box)
    tree.grant()
    box.look()
    for name in ("one", "two", "three"):
        submit(tree, name)
        box.clock.advance(10)
        box.look()
    assert len(box.mails()) == 6
    kept = box.folder / "kept"
    box.home.mail.rename(kept)
    box.home.mail.write_text("in the way")
    submit(tree, "owed")
    box.clock.advance(10)
    box.look()
    box.home.mail.unlink()
    kept.rename(box.home.mail)
    return box


Copy = Callable[[], Box]


@pytest.fixture
def another(original: Box, tmp_path: Path) -> Copy:
    """Makes copies of the home and its tree, an hour later."""

    def make() -> Box:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.rmtree(folder)
        shutil.copytree(original.folder, folder)
        box = Box(folder, clock=Clock(original.clock.now + HOUR, original.clock.ticks + HOUR))
        box.last_look = original.last_look
        box.configure()
        box.new_mails()
        return box

    return make


@pytest.fixture
def copy(another: Copy) -> Box:
    return another()


def spare(home: Home) -> Path:
    return home.state.with_name("state.json.bak")


def assert_told_once(box: Box) -> None:
    """Two looks later what was owed is told, each of it once, and nothing else."""
    box.look()
    box.clock.advance(HOUR)
    box.look()
    assert told(box.new_mails()) == OWED


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(5))
def test_a_state_file_cut_anywhere_loses_nothing_and_repeats_nothing(
    original: Box, another: Copy, part: int, caplog: pytest.LogCaptureFixture
) -> None:
    """X02: at every tenth byte; every fifth time without its copy."""
    size = original.home.state.stat().st_size
    has_copy = part > 0
    for length in range(part * 10, size, 50):
        box = another()
        caplog.clear()
        whole = box.home.state.read_bytes()
        box.home.state.write_bytes(whole[:length])
        if not has_copy:
            spare(box.home).unlink()
        assert_told_once(box)

        about = [line for line in warnings_of(caplog) if "state" in line]
        assert "state.json was damaged" in about[0], length
        assert len(about) <= 2, about
        (aside,) = box.home.root.glob("state.json.damaged-*")
        assert aside.read_bytes() == whole[:length]


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 600,
        b"\xff\xfe garbage",
        b"[]",
        b'{"version": 0, "notified": {}}',
        b'{"version": "1", "notified": {}}',
        b'{"version": 1, "notified": {"a": "new"}}',
    ],
)
def test_a_state_file_that_is_none_is_kept_aside_and_said(
    copy: Box, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """X02."""
    copy.home.state.write_bytes(content)
    assert_told_once(copy)

    assert "state.json was damaged" in warnings_of(caplog)[0]
    (aside,) = copy.home.root.glob("state.json.damaged-*")
    assert aside.read_bytes() == content


def test_a_state_file_and_its_copy_both_damaged_are_mended_from_the_outbox(copy: Box) -> None:
    """X02."""
    copy.home.state.write_bytes(b"{")
    spare(copy.home).write_bytes(b"")

    assert_told_once(copy)


def test_the_state_file_of_a_newer_version_is_left_alone(copy: Box) -> None:
    """X02: a copy that knows less must not be taken for it."""
    whole = copy.home.state.read_bytes()
    newer = whole.replace(b'"version":1', b'"version":2')
    copy.home.state.write_bytes(newer)
    with pytest.raises(StateError, match="written by a newer version"):
        copy.look()

    assert copy.home.state.read_bytes() == newer
    assert copy.new_mails() == []
    copy.home.state.write_bytes(whole)
    assert_told_once(copy)


@pytest.mark.parametrize("name", ["state.json", "state.json.bak", "state.json.lock"])
def test_a_folder_in_the_place_of_a_state_file_is_said_and_loses_nothing(copy: Box, name: str) -> None:
    """X02."""
    path = copy.home.root / name
    path.unlink()
    path.mkdir()
    if name != "state.json.bak":
        with pytest.raises(StateError, match=r"state\.json"):
            copy.look()
    else:
        with contextlib.suppress(StateError):
            copy.look()
    path.rmdir()

    assert_told_once(copy)


@pytest.mark.parametrize("name", ["state.json", "outbox.db"])
def test_a_file_that_may_not_be_read_is_said_and_loses_nothing(name: str) -> None:
    """X02: as somebody whom the system's rights do stop."""
    with somebodys_box() as (box, run):
        tree = jobs_of(box)
        tree.grant()
        assert run("run", "--once").returncode == 0
        submit(tree, "survey")
        (box.home.root / name).chmod(0o000)
        refused = run("run", "--once")
        assert refused.returncode == 1
        assert name in refused.stderr
        assert "Permission denied" in refused.stderr
        assert "Traceback" not in refused.stderr
        (box.home.root / name).chmod(0o600)
        assert run("run", "--once").returncode == 0
        assert run("run", "--once").returncode == 0

        assert told(box.mails()) == OWED


@pytest.mark.parametrize("is_alive", [False, True], ids=["between two runs", "under a running worker"])
def test_a_ledger_that_vanishes_is_neither_a_silence_nor_a_flood(box: Box, is_alive: bool) -> None:
    """X02: what happened since is told, and of the past nothing."""
    tree = jobs_of(box)
    tree.grant()
    for number in range(20):
        submit(tree, f"old {number}")
        tree.approve(f"old {number}")
        tree.run(f"old {number}")
    box.clock.advance(100)
    parts = box.parts()
    try:
        parts.run_once(None)
        submit(tree, "survey")
        parts.run_once(box.clock.now)
        assert told(box.new_mails()) == OWED
        lose_ledger(box)
        if not is_alive:
            parts.close()
            parts = box.parts()
        tree.approve("survey")
        box.clock.advance(10)
        parts.run_once(box.clock.now)
        assert told(box.new_mails()) == [("job_approved", "submitter", ANA)]
        tree.rerun("old 3")
        box.clock.advance(10)
        parts.run_once(box.clock.now)
        tree.run("old 3")
        box.clock.advance(10)
        parts.run_once(box.clock.now)
    finally:
        parts.close()

    assert told(box.new_mails()) == [("job_completed", "owner", OWNER), ("job_completed", "submitter", ANA)]


# -- the outbox ------------------------------------------------------------------------------------------------------

CUTS = [0, 1, 50, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 7 * PAGE, -PAGE, -1]


@pytest.mark.parametrize("length", CUTS)
def test_an_outbox_that_is_cut_loses_nothing_and_repeats_nothing(copy: Box, length: int) -> None:
    """X01, X02."""
    copy.home.outbox.write_bytes(copy.home.outbox.read_bytes()[:length])

    assert_told_once(copy)


@pytest.mark.parametrize("length", [0, 1, PAGE, -PAGE])
@pytest.mark.parametrize("owes", [True, False], ids=["with mails owed", "with nothing owed"])
def test_an_outbox_that_is_cut_is_named(copy: Box, length: int, owes: bool, caplog: pytest.LogCaptureFixture) -> None:
    """X02: the history is gone; whoever looks for it must find out why."""
    if not owes:
        copy.look()
        caplog.clear()
    copy.home.outbox.write_bytes(copy.home.outbox.read_bytes()[:length])
    copy.look()

    assert len([line for line in warnings_of(caplog) if "outbox.db" in line]) == 1


@pytest.mark.parametrize("page", [0, 1, 2, 5, 9, 13])
def test_garbage_in_any_page_of_the_outbox_loses_nothing(copy: Box, page: int) -> None:
    """X01, X02: a damaged outbox is kept aside, or still gives what it holds; it is never the end of all mail."""
    content = bytearray(copy.home.outbox.read_bytes())
    assert len(content) > page * PAGE
    content[page * PAGE : (page + 1) * PAGE] = random.Random(page).randbytes(PAGE)
    copy.home.outbox.write_bytes(content)

    assert_told_once(copy)


def test_an_outbox_that_is_no_database_is_kept_aside_and_said(copy: Box, caplog: pytest.LogCaptureFixture) -> None:
    """X02."""
    copy.home.outbox.write_bytes(b"not a database at all" * 999)
    assert_told_once(copy)

    assert [line for line in warnings_of(caplog) if "outbox.db was damaged" in line]
    (aside,) = copy.home.root.glob("outbox.db.damaged-*")
    assert aside.read_bytes() == b"not a database at all" * 999


def test_the_outbox_of_a_newer_version_is_left_alone(copy: Box) -> None:
    """X02."""
    with contextlib.closing(sqlite3.connect(copy.home.outbox)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 99")
    before = copy.home.outbox.read_bytes()
    with pytest.raises(StateError, match="written by a newer version"):
        copy.look()

    assert copy.home.outbox.read_bytes() == before
    with contextlib.closing(sqlite3.connect(copy.home.outbox)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    assert_told_once(copy)


def test_a_folder_in_the_place_of_the_outbox_is_said_and_loses_nothing(copy: Box) -> None:
    """X02."""
    kept = copy.home.outbox.rename(copy.folder / "kept")
    copy.home.outbox.mkdir()
    with pytest.raises(StateError, match=r"outbox\.db cannot be opened"):
        copy.look()
    copy.home.outbox.rmdir()
    kept.rename(copy.home.outbox)

    assert_told_once(copy)


@pytest.mark.parametrize("damage", ["no wal", "half a wal", "garbage for a wal", "garbage for shm", "no shm"])
def test_the_files_beside_the_outbox_may_be_lost(copy: Box, tmp_path: Path, damage: str) -> None:
    """X01, X02: what a power cut or a careful hand leaves of the files that a killed worker had open."""
    tree = jobs_of(copy)
    parts = copy.parts()
    try:
        # Nothing of this is in the database itself yet: it is still in its write-ahead log.
        submit(tree, "late")
        copy.home.mail.rename(tmp_path / "kept")
        copy.home.mail.write_text("in the way")
        parts.run_once(copy.clock.now)
        copy.home.mail.unlink()
        (tmp_path / "kept").rename(copy.home.mail)
        shutil.copytree(copy.folder, tmp_path / "killed")
    finally:
        parts.close()
    box = Box(tmp_path / "killed", clock=Clock(copy.clock.now + 9 * HOUR, copy.clock.ticks + 9 * HOUR))
    box.configure()
    box.new_mails()
    wal, shm = box.home.root / "outbox.db-wal", box.home.root / "outbox.db-shm"
    whole = wal.read_bytes()
    assert len(whole) > PAGE
    if damage == "no wal":
        wal.unlink()
    elif damage == "half a wal":
        wal.write_bytes(whole[: len(whole) // 2])
    elif damage == "garbage for a wal":
        wal.write_bytes(random.Random(1).randbytes(len(whole)))
    elif damage == "garbage for shm":
        shm.write_bytes(random.Random(1).randbytes(32768))
    else:
        shm.unlink()
    box.look()
    box.clock.advance(HOUR)
    box.look()

    assert told(box.new_mails()) == sorted([*OWED, *OWED])


def test_an_outbox_damaged_under_a_running_worker_is_mended_by_the_next_one(copy: Box) -> None:
    """X01, X02: until then every look says so."""
    parts = copy.parts()
    try:
        with copy.home.outbox.open("r+b") as file:
            file.truncate(0)
            file.write(b"garbage" * 2000)
        with contextlib.suppress(StateError):
            parts.run_once(copy.clock.now)
    finally:
        parts.close()
    copy.clock.advance(HOUR)
    copy.look()
    copy.clock.advance(HOUR)
    copy.look()

    assert told(copy.new_mails()) == OWED


# -- both ------------------------------------------------------------------------------------------------------------


def fill_tree(box: Box, ended: int, waiting: int) -> None:
    """Many jobs of layout D at once: the two files of each that say how it stands."""
    base = box.root / OWNER / "app_data" / "job"
    jobs_of(box).grant(ANA)
    for number in range(ended + waiting):
        is_waiting = number < waiting
        name = f"waiting {number}" if is_waiting else f"ended {number}"
        inbox, review = base / "inbox" / ANA / "v1" / name, base / "review" / ANA / "v1" / name
        inbox.mkdir(parents=True)
        review.mkdir(parents=True)
        (inbox / "config.yaml").write_text(f"name: {name}\nsubmitted_at: '2026-01-01T00:00:{number:08}Z'\nfiles: []\n")
        end = "" if is_waiting else "approved_at: '2026-01-02'\ncompleted_at: '2026-01-03'\nreturn_code: 0\n"
        (review / "state.yaml").write_text(f"status: {'pending' if is_waiting else 'done'}\n{end}")


def test_with_ledger_and_outbox_gone_one_mail_names_what_waits(box: Box) -> None:
    """X02: a thousand ended jobs are no news."""
    fill_tree(box, ended=1000, waiting=5)
    box.look()
    assert [mail.told for mail in box.new_mails()] == [("digest", "owner", OWNER)]
    tree = jobs_of(box)
    tree.approve("waiting 4")
    box.clock.advance(100)
    box.look()
    assert [mail.told for mail in box.new_mails()] == [("job_approved", "submitter", ANA)]
    submit(tree, "waiting 5")
    box.clock.advance(100)
    box.look()
    assert told(box.new_mails()) == OWED
    lose_ledger(box)
    lose_outbox(box)
    for _ in range(3):
        box.clock.advance(100)
        box.look()
    (mail,) = box.new_mails()

    assert mail.told == ("digest", "owner", OWNER)
    assert len(mail.entities) == 5
    for number in (0, 1, 2, 3, 5):
        assert f"waiting {number}" in mail.text
    assert "ended" not in mail.text


@pytest.mark.parametrize("lose", [lose_ledger, lose_outbox], ids=["the ledger", "the outbox"])
def test_with_one_of_both_gone_a_full_tree_is_no_news(box: Box, lose: Callable[[Box], None]) -> None:
    """X01, X02: what is owed is told once, what waits is not told again."""
    fill_tree(box, ended=1000, waiting=5)
    box.look()
    box.new_mails()
    box.home.mail.rename(box.folder / "kept")
    box.home.mail.write_text("in the way")
    submit(jobs_of(box), "owed")
    box.clock.advance(100)
    box.look()
    box.home.mail.unlink()
    (box.folder / "kept").rename(box.home.mail)
    lose(box)
    for _ in range(3):
        box.clock.advance(HOUR)
        box.look()

    assert told(box.new_mails()) == OWED


# -- the disk --------------------------------------------------------------------------------------------------------


def at_work(box: Box) -> tuple[Tree, int]:
    """A tree with a peer, and the pid of a worker that watches it."""
    tree = TREES["D"](Disk(box.root))
    tree.grant()
    box.notify("start", check=0)
    pid = worker_lock.holder_pid(box.home)
    assert pid is not None
    return tree, pid


@contextlib.contextmanager
def mounted(place: Path, *words: str) -> Iterator[None]:
    """A file system of our own at `place`, where the system lets us."""
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: whoever still has a file open there must not keep it from going.
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)


@contextlib.contextmanager
def read_only(home: Home) -> Iterator[None]:
    """The home as on a disk that turned read-only; what is open for writing stays so."""
    with mounted(home.root, "--bind", str(home.root)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(home.root)], check=True, capture_output=True)
        yield


@contextlib.contextmanager
def somebodys_box() -> Iterator[tuple[Box, Callable[..., subprocess.CompletedProcess[str]]]]:
    """A box of somebody who is not root, and the command as they run it."""
    folder = Path(tempfile.mkdtemp(prefix="damage-"))
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    try:
        folder.chmod(0o755)
        box = Box(folder, clock=Clock(now=time.time() - 100))
        box.root.mkdir()
        box.configure()

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            if prefix:
                subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
            command = [*prefix, sys.executable, "-P", "-m", "syftnotify", *words]
            return subprocess.run(
                command, env=box.environment(), cwd="/", capture_output=True, text=True, timeout=PATIENCE, check=False
            )

        try:
            usable = run("--version").returncode == 0
        except OSError:
            usable = False
        if not usable:
            pytest.skip("nobody else than root can run the code here")
        yield box, run
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("command", [("start",), ("run",), ("run", "--once"), ("restart",)], ids=" ".join)
def test_a_read_only_home_is_said_without_a_traceback(box: Box, command: tuple[str, ...]) -> None:
    """S16, X02."""
    submit(jobs_of(box), "survey")
    with read_only(box.home):
        done = box.notify(*command)
        assert done.returncode == 1, done
        assert str(box.home.root) in done.stderr
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        box.notify("status", check=3)
        box.notify("stop", check=3)
    box.notify("run", "--once", check=0)

    assert [mail.told for mail in box.mails()] == [("digest", "owner", OWNER)]


def test_a_rehearsal_needs_no_writable_home(box: Box) -> None:
    """B07."""
    submit(jobs_of(box), "survey")
    with read_only(box.home):
        done = box.notify("run", "--dry-run", check=0)

    assert "1 message would be sent" in done.stdout


@pytest.fixture
def elsewhere(box: Box) -> Path:
    """Mail goes to a folder that no trouble of the home reaches."""
    place = box.folder / "elsewhere"
    box.configure({"transports": {"box": {"type": "maildir", "path": str(place)}}})
    return place


def test_a_home_that_turns_read_only_under_a_worker_loses_nothing(box: Box, elsewhere: Path) -> None:
    """X01, X02: the worker says so and lives on, and goes on when it may write again."""
    tree, pid = at_work(box)
    with read_only(box.home):
        submit(tree, "survey")
        wait_until(lambda: "Read-only file system" in box.home.log.read_text(), what="the worker says so")
        stuck = worker_status.read(box.home)
        assert worker_status.health_problems(stuck, time.time() + 60), "status tells it when nobody can write it down"
        box.notify("start", check=3)
    wait_until(
        lambda: (worker_status.read(box.home).last_scan_s or 0) > (stuck.last_scan_s or 0) + 2, what="looks go on"
    )
    wait_until(lambda: len(mails_in(elsewhere)) >= 2, what="both mails")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="nothing waits")
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("restart", check=0)
    box.notify("stop", check=0)

    assert told(mails_in(elsewhere)) == OWED


def leave_room_in(log: Path) -> None:
    """Begin a page of the log: else it depends on the length of what stands in it whether one more line has room.

    A line that the worker writes meanwhile would make it another place of the page: its last one is waited for.
    """
    wait_until(lambda: "started, pid" in log.read_text(), what="the last line of a start")
    with log.open("ab") as file:
        file.write(b"\n" * (PAGE - file.tell() % PAGE + 1))


def fill_up(folder: Path) -> Path:
    """Leave not one byte of the file system of `folder` free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler


@pytest.fixture
def small_disk(box: Box) -> Iterator[None]:
    """The home lies on a disk of two megabytes."""
    settings = box.home.config.read_bytes()
    with mounted(box.home.root, "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"):
        box.home.config.write_bytes(settings)
        box.home.config.chmod(0o600)  # no warning about it after the start
        yield
        if worker_lock.is_held(box.home):
            box.notify("stop")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_worker_whose_home_turns_unwritable_loses_nothing(box: Box, elsewhere: Path) -> None:
    """X01, X02, F5: as the test above, without root."""
    tree, pid = at_work(box)
    box.home.root.chmod(0o500)
    try:
        submit(tree, "survey")
        wait_until(lambda: "scan failed" in box.home.log.read_text(), what="a failed scan in the log")
    finally:
        box.home.root.chmod(0o700)
    wait_until(lambda: len(mails_in(elsewhere)) >= 2, what="both mails")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="an empty queue")
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("stop", check=0)

    assert told(mails_in(elsewhere)) == OWED


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_fills_up_under_a_worker_loses_nothing(box: Box) -> None:
    """X01, X02: home, outbox, ledger, log and mail are all on it."""
    tree, pid = at_work(box)
    submit(tree, "before")
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="the first two")
    leave_room_in(box.home.log)
    filler = fill_up(box.home.root)
    full_since = worker_status.read(box.home).last_scan_s or 0.0
    submit(tree, "survey")
    wait_until(lambda: "scan failed" in box.home.log.read_text(), what="the log says so, as far as it has room")
    assert worker_lock.holder_pid(box.home) == pid
    assert worker_status.health_problems(worker_status.read(box.home), time.time() + 60), (
        "status tells it when nobody can write it down"
    )
    filler.unlink()
    wait_until(lambda: len(mails_in(box.home.mail)) >= 4, what="what was owed")
    wait_until(lambda: worker_status.read(box.home).waiting == 0, what="nothing waits")
    wait_until(lambda: (worker_status.read(box.home).last_scan_s or 0.0) > full_since + 2, what="looks go on")
    assert "full" in str(worker_status.read(box.home).last_error)
    assert worker_lock.holder_pid(box.home) == pid
    box.notify("restart", check=0)
    box.notify("stop", check=0)

    assert told(box.mails()) == sorted([*OWED, *OWED])


@pytest.mark.usefixtures("small_disk")
def test_a_worker_that_is_killed_on_a_full_disk_goes_on_when_there_is_room(box: Box) -> None:
    """X01, X02: and a start without room says so."""
    tree, pid = at_work(box)
    leave_room_in(box.home.log)
    filler = fill_up(box.home.root)
    submit(tree, "survey")
    wait_until(lambda: "scan failed" in box.home.log.read_text(), what="the log says so, as far as it has room")
    os.kill(pid, 9)
    wait_until(lambda: not worker_lock.is_held(box.home), what="the lock is free")
    done = box.notify("start")
    assert done.returncode == 1, done
    assert "full" in done.stderr or "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    filler.unlink()
    box.notify("start", check=0)
    wait_until(lambda: worker_status.read(box.home).sent == 2, what="both mails")
    box.notify("stop", check=0)

    assert told(box.mails()) == OWED


# The standard library leaves the file to the collector when closing it fails, which then says that it failed again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_mail_folder_on_a_full_disk_holds_the_mail_until_there_is_room(box: Box, elsewhere: Path) -> None:
    """X01: not one mail is half written, and none comes twice."""
    tree = jobs_of(box)
    tree.grant()
    box.look()
    elsewhere.mkdir(exist_ok=True)
    with mounted(elsewhere, "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        for name in ("cur", "new", "tmp"):
            (elsewhere / name).mkdir(exist_ok=True)
        filler = fill_up(elsewhere)
        submit(tree, "survey")
        box.clock.advance(10)
        box.look()
        assert mails_in(elsewhere) == []
        filler.unlink()
        box.clock.advance(2 * HOUR)
        box.look()
        box.clock.advance(2 * HOUR)
        box.look()

        assert told(mails_in(elsewhere)) == OWED


def test_a_log_that_takes_nothing_stops_nobody(box: Box) -> None:
    """X01: what /dev/full is, in the place of the log."""
    tree = TREES["D"](Disk(box.root))
    tree.grant()
    box.notify("run", "--once", check=0)
    box.home.log.unlink()
    try:
        # One of our own: the worker sets the mode of its log, and the system's device is everybody's.
        os.mknod(box.home.log, stat.S_IFCHR | 0o600, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(OSError, match="No space left"):
        box.home.log.write_text("a line")
    submit(tree, "survey")
    done = box.notify("run", "--once")

    assert told(box.mails()) == OWED
    assert done.returncode == 0, done.stderr
