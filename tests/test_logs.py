"""The log file: what goes in is harmless, and it is read again through every rotation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syftnotify.services.demo import Tree
from syftnotify.system import logs, worker_status
from tests.support import ANA, OWNER, PATIENCE, Box, wait_until

ESCAPE, OVERRIDE, SEPARATOR = "\x1b", "\u202e", "\u2028"  # ANSI, right to left, a line end that is none for grep


def line(number: int, level: str = "INFO") -> str:
    return f"2026-01-01T00:00:00.{number:03d}Z {level} syftnotify.worker: line {number}"


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{one}\n" for one in lines)


def log_from_a_process(path: Path, code: str, *, umask: int = 0o022) -> None:
    """Run `code` in a process of its own that logs to `path` as the worker does; `log` is its logger."""
    program = (
        "import logging, os, pathlib, sys\n"
        "from syftnotify.system import logs\n"
        f"os.umask({umask})\n"
        "logs.configure(pathlib.Path(sys.argv[1]))\n"
        "log = logging.getLogger('syftnotify.test')\n" + code
    )
    subprocess.run([sys.executable, "-P", "-c", program, str(path)], check=True, timeout=PATIENCE)


class Follower:
    """A reader that follows a log in a thread of its own."""

    def __init__(self, path: Path, *, level: str = "debug") -> None:
        self.lines: list[str] = []
        self._done = threading.Event()
        self._asked = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        following = logs.follow(path, level=level, sleep=self._sleep, until=self._done.is_set)
        self._running = self._pool.submit(lambda: self.lines.extend(following))
        assert self._asked.wait(PATIENCE), "it never came to the end of the file"

    def _sleep(self, _seconds: float) -> None:
        self._asked.set()
        self._done.wait(0.01)

    def saw(self, *lines: str) -> None:
        """Wait until exactly these came."""
        try:
            wait_until(lambda: len(self.lines) >= len(lines), what=f"{len(lines)} lines")
        finally:
            self.close()
        assert self.lines == list(lines)

    def close(self) -> None:
        self._done.set()
        self._running.result(PATIENCE)
        self._pool.shutdown()


# -- reading again ---------------------------------------------------------------------------------------------------


def test_logs_shows_the_last_fifty_lines(box: Box) -> None:
    """S16."""
    write(box.home.log, *(line(number) for number in range(60)))

    shown = box.notify("logs", check=0).stdout.splitlines()

    assert shown == [line(number) for number in range(10, 60)]


@pytest.mark.parametrize(("count", "first"), [("0", 60), ("1", 59), ("500", 0)])
def test_logs_shows_as_many_lines_as_asked(box: Box, count: str, first: int) -> None:
    """S16."""
    write(box.home.log, *(line(number) for number in range(60)))

    shown = box.notify("logs", "notify", "-n", count, check=0).stdout.splitlines()

    assert shown == [line(number) for number in range(first, 60)]


TRACEBACK = ("    Traceback (most recent call last):", '      File "x.py", line 1', "    ValueError: no")
MIXED = (line(1, "DEBUG"), line(2, "INFO"), line(3, "WARNING"), line(4, "ERROR"), *TRACEBACK, line(5))


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", MIXED), ("warning", MIXED[2:-1]), ("error", MIXED[3:-1])],
)
def test_a_level_hides_what_matters_less_and_a_traceback_stays_with_its_line(
    box: Box, level: str, shown: tuple[str, ...]
) -> None:
    """S16, N27."""
    write(box.home.log, *MIXED)

    assert box.notify("logs", "--level", level, check=0).stdout.splitlines() == list(shown)


def test_a_traceback_counts_as_one_with_its_line(box: Box) -> None:
    """S16."""
    write(box.home.log, *MIXED)

    assert box.notify("logs", "-n", "2", check=0).stdout.splitlines() == list(MIXED[3:])


def test_each_line_can_be_had_as_an_object(box: Box) -> None:
    """S16."""
    write(box.home.log, "words of a program that crashed", *MIXED[3:])

    objects = [json.loads(text) for text in box.notify("logs", "--json", check=0).stdout.splitlines()]

    assert objects[0] == {"message": "words of a program that crashed"}
    assert objects[1]["level"] == "ERROR"
    assert objects[1]["logger"] == "syftnotify.worker"
    assert objects[1]["time"] == "2026-01-01T00:00:00.004Z"
    assert objects[1]["message"] == "\n".join(["line 4", *TRACEBACK])
    assert objects[2]["message"] == "line 5"


@pytest.mark.parametrize("words", [("logs",), ("logs", "approve")])
def test_a_log_that_is_not_there_is_said(box: Box, words: tuple[str, ...]) -> None:
    """S16."""
    done = box.notify(*words, check=1)

    assert "there is no log" in done.stderr


# -- following -------------------------------------------------------------------------------------------------------


def test_following_begins_when_it_is_asked_for(tmp_path: Path) -> None:
    """S16: what is written between the call and the first line read is part of it."""
    path = tmp_path / "notify.log"
    write(path, line(1))

    following = logs.follow(path, until=lambda: True)
    write(path, line(2))

    assert list(following) == [line(2)]


def test_following_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    write(path, line(1))
    follower = Follower(path)

    write(path, line(2))
    path.rename(tmp_path / "notify.log.1")
    write(path, line(3), line(4))

    follower.saw(line(2), line(3), line(4))


def test_the_last_line_before_a_rotation_is_not_lost(tmp_path: Path) -> None:
    """S16: written and rotated away just after the reader had come to the end."""
    path = tmp_path / "notify.log"
    write(path, line(1))
    asked = 0

    def rotates() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            write(path, line(2))
            path.rename(tmp_path / "notify.log.1")
            write(path, line(3))
        return asked > 4

    assert list(logs.follow(path, sleep=lambda _: None, until=rotates)) == [line(2), line(3)]


def test_following_goes_on_after_a_truncation(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    write(path, *(line(number) for number in range(10)))
    follower = Follower(path)

    os.truncate(path, 0)
    write(path, line(11))

    follower.saw(line(11))


def test_following_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    """S16."""
    follower = Follower(tmp_path / "notify.log")

    write(tmp_path / "notify.log", line(1))

    follower.saw(line(1))


@pytest.mark.parametrize("after", [b"INF", b"zw\xc3"], ids=["cut in a word", "cut in a letter"])
def test_a_line_that_comes_in_pieces_is_shown_whole(tmp_path: Path, after: bytes) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    write(path, line(1))
    whole = f"{line(12)}, zw\u00f6lf\n".encode()
    cut = whole.index(after) + len(after)
    pieces = [whole[:cut], whole[cut:]]
    asked = 0

    def pieces_come() -> bool:
        nonlocal asked
        asked += 1
        if pieces:
            with path.open("ab") as file:
                file.write(pieces.pop(0))
        return asked > 6

    assert list(logs.follow(path, sleep=lambda _: None, until=pieces_come)) == [whole.decode().rstrip("\n")]


def test_following_hides_what_matters_less(tmp_path: Path) -> None:
    """S16."""
    path = tmp_path / "notify.log"
    write(path, line(0))
    follower = Follower(path, level="error")

    write(path, *MIXED, line(6, "ERROR"))

    follower.saw("\n".join(MIXED[3:-1]), line(6, "ERROR"))


@pytest.mark.parametrize("words", [("logs", "notify", "-f"), ("logs", "-f")])
def test_the_command_follows_through_a_real_rotation_until_ctrl_c(box: Box, words: tuple[str, ...]) -> None:
    """S16."""
    write(box.home.log, line(1))
    process = box.begin(*words)
    seen: list[str] = []
    assert process.stdout is not None
    stream = process.stdout
    reader = threading.Thread(target=lambda: seen.extend(iter(stream.readline, "")))
    reader.start()
    try:
        wait_until(lambda: line(1) + "\n" in seen, what="what was there")
        # Once it follows, it sees this; before, it may see it as well. Either way it is shown once.
        write(box.home.log, line(2))
        wait_until(lambda: line(2) + "\n" in seen, what="a new line")
        with box.home.log.open("ab") as file:
            file.truncate(logs.MAX_BYTES - 10)
        log_from_a_process(box.home.log, "log.info('after the rotation')\n")
        wait_until(lambda: any("after the rotation" in one for one in seen), what="the line after the rotation")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        reader.join(PATIENCE)
        stream.close()
        if process.stderr:
            process.stderr.close()
    assert [one for one in seen if "line " in one] == [line(1) + "\n", line(2) + "\n"]


# -- writing ---------------------------------------------------------------------------------------------------------


def test_nothing_that_a_terminal_obeys_reaches_the_file(tmp_path: Path) -> None:
    """S16: neither as a message nor in a traceback; only the first line of a record is not indented."""
    path = tmp_path / "notify.log"
    log_from_a_process(
        path,
        r"hostile = 'a\nb\rc\x1b[31md\u202ee\u2028f\x07\x9b31m\ud800'" + "\n"
        "log.info('job %s', hostile)\n"
        "try:\n    raise ValueError(hostile)\nexcept ValueError:\n    log.exception('it broke: %s', hostile)\n",
    )

    written = path.read_bytes().decode("utf-8")

    assert not any(character in written for character in (ESCAPE, OVERRIDE, SEPARATOR, "\r", "\x07", "\x9b"))
    heads = [text for text in written.split("\n") if text and not text.startswith("    ")]
    assert len(heads) == 2
    assert all(
        re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|ERROR) syftnotify\.test: ", one) for one in heads
    )
    assert "\\x1b[31m" in written


def test_a_hostile_job_name_does_not_reach_the_log_raw(box: Box) -> None:
    """S16."""
    box.snapshot.parent.mkdir(parents=True)
    tree = Tree(box.root, box.snapshot)
    tree.peers([], [])
    tree.grant(ANA)
    box.notify("run", "--once", check=0)
    tree.submit(ANA, f"evil{ESCAPE}[2J\n{OVERRIDE}name", "print(1)\n")

    box.notify("run", "--once", check=0)

    written = box.home.log.read_text(encoding="utf-8")
    assert ESCAPE not in written
    assert OVERRIDE not in written
    assert all(re.match(r"\d{4}-|    ", text) for text in written.splitlines())
    assert len(box.mails()) == 2


def test_every_attempt_is_found_by_the_word_notification(box: Box) -> None:
    """N27."""
    Tree(box.root, box.snapshot).submit(ANA, "survey", "print(1)\n")

    box.notify("run", "--once", check=0)

    attempts = [text for text in box.home.log.read_text().splitlines() if "notification" in text]
    assert len(box.mails()) == 1
    assert any(" SENT" in text for text in attempts)


def test_the_file_is_for_its_owner_alone_and_stays_so_through_a_rotation(tmp_path: Path) -> None:
    """S16: 10 MB a file, five older ones."""
    path = tmp_path / "notify.log"
    for number in range(1, 6):
        write(tmp_path / f"notify.log.{number}", f"old {number}")
    log_from_a_process(path, "log.info('one')\n")
    assert path.stat().st_mode & 0o777 == 0o600
    os.truncate(path, logs.MAX_BYTES - 10)

    log_from_a_process(path, "log.info('two')\n")

    assert logs.MAX_BYTES == 10_000_000
    assert path.stat().st_size < 1000
    assert (tmp_path / "notify.log.1").stat().st_size == logs.MAX_BYTES - 10
    assert (tmp_path / "notify.log.5").read_text() == "old 4\n"
    assert not (tmp_path / "notify.log.6").exists()
    assert (tmp_path / "notify.log.1").stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


# -- records of several lines ----------------------------------------------------------------------------------------


def test_message_of_several_lines_is_readable_and_one_record(box: Box) -> None:
    """D11: indented as tracebacks are; nothing in it can look like another record."""
    forged = line(7, "ERROR")
    log_from_a_process(
        box.home.log, f"log.error('config.yaml: 2 errors\\n  a: b\\r\\n{forged}\\n\\n')\nlog.info('next')\n"
    )

    text = box.home.log.read_text()
    assert "config.yaml: 2 errors\n      a: b\n    2026-" in text
    assert "\\n" not in text
    assert len([each for each in text.splitlines() if not each.startswith("    ")]) == 2
    objects = [json.loads(each) for each in box.notify("logs", "--json", check=0).stdout.splitlines()]
    assert [each["level"] for each in objects] == ["ERROR", "INFO"]
    assert objects[0]["message"] == f"config.yaml: 2 errors\n      a: b\n    {forged}"


def test_separators_that_only_some_readers_know_stay_escaped(tmp_path: Path) -> None:
    """D11"""
    path = tmp_path / "notify.log"
    log_from_a_process(path, "log.info('a\\x0bb\\x0cc\\x1cd\\x85e\\u2028f\\u2029g')\n")

    assert len(path.read_text().splitlines()) == 1


def test_followed_record_is_one_object(box: Box) -> None:
    """D11: with its further lines, also while it is followed."""
    write(box.home.log, line(1))
    process = box.begin("logs", "-f", "--json")
    seen: list[str] = []
    assert process.stdout is not None
    stream = process.stdout
    reader = threading.Thread(target=lambda: seen.extend(iter(stream.readline, "")))
    reader.start()
    try:
        wait_until(lambda: seen, 60, "what was there")
        write(box.home.log, *MIXED[3:-1], line(6))
        wait_until(lambda: any("line 6" in each for each in seen), 60, "the last record")
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        stream.close()
        assert process.stderr is not None
        process.stderr.close()
    assert [json.loads(each)["message"] for each in seen] == ["line 1", "\n".join(["line 4", *TRACEBACK]), "line 6"]


def test_failed_start_is_readable_in_the_log_and_in_the_answer(box: Box) -> None:
    """D11"""
    box.home.config.write_text("do_email: a\nrole: b\n")

    for text in (box.notify("start", check=2).stderr, box.home.log.read_text()):
        assert "config.yaml: 2 errors\n" in text
        assert "\\n" not in text


def test_last_error_of_several_lines_is_readable_in_status(box: Box) -> None:
    """D11"""
    worker_status.write(box.home, worker_status.WorkerStatus(last_error=f"one\ntwo {ESCAPE}[31m"))

    shown = box.notify("status", check=3).stdout

    assert "\\n" not in shown
    assert "two \\x1b[31m" in shown


# -- rotation by another program -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "replace",
    [
        "os.rename(path, path + '.1')",
        "os.remove(path)",
        "os.rename(path, path + '.1'); os.close(os.open(path, os.O_CREAT, 0o644)); os.chmod(path, 0o644)",
    ],
    ids=["renamed", "removed", "made anew"],
)
def test_log_is_opened_again_when_it_was_replaced(tmp_path: Path, replace: str) -> None:
    """B9: for its owner alone."""
    path = tmp_path / "notify.log"
    log_from_a_process(
        path, f"path = sys.argv[1]\nlog.info('one')\n{replace}\nlog.info('two')\nlog.info('three')\n", umask=0
    )

    assert [text.rpartition(": ")[2] for text in path.read_text().splitlines()] == ["two", "three"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_is_still_written_when_its_folder_was_moved_away(tmp_path: Path) -> None:
    """B9: into the open file; nothing fails."""
    (tmp_path / "home").mkdir()
    log_from_a_process(
        tmp_path / "home" / "notify.log",
        "logging.raiseExceptions = False\nlog.info('one')\n"
        "folder = pathlib.Path(sys.argv[1]).parent\nfolder.rename(folder.with_name('moved'))\nlog.info('two')\n",
    )

    assert [text.rpartition(": ")[2] for text in (tmp_path / "moved" / "notify.log").read_text().splitlines()] == [
        "one",
        "two",
    ]


def test_worker_and_follower_go_on_when_the_log_was_removed(box: Box) -> None:
    """B9: with a real worker."""
    box.notify("start", check=0)
    follower = Follower(box.home.log)
    try:
        box.home.log.unlink()
        box.notify("stop", check=0)
        wait_until(lambda: any("stopped" in each for each in follower.lines), 60, "what the worker wrote last")
    finally:
        follower.close()
    assert "stopped" in box.home.log.read_text()
    assert box.home.log.stat().st_mode & 0o777 == 0o600


# -- secrets ---------------------------------------------------------------------------------------------------------


class Unfriendly:
    """Answers every request with an error that repeats what it was asked."""

    def __init__(self, status: int) -> None:
        self.paths: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer()

            def _answer(self) -> None:
                host.paths.append(self.path)
                words = {"error": {"code": status, "message": f"{self.path} {self.headers['Authorization']}"}}
                body = json.dumps(words).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's word
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(params=[401, 403, 500])
def unfriendly(request: pytest.FixtureRequest) -> Iterator[Unfriendly]:
    host = Unfriendly(request.param)
    yield host
    host.server.shutdown()
    host.server.server_close()


def test_no_secret_reaches_the_log_or_the_report(box: Box, unfriendly: Unfriendly) -> None:
    """S16: neither tokens nor the path of a ping address, whatever the other side answers."""
    box.configure(
        {
            "transports": {"mail": {"type": "gmail", "api_endpoint": unfriendly.url}},
            "heartbeat": {"ping_url": f"{unfriendly.url}/ping-SECRET"},
        }
    )
    token = {
        "token": "access-SECRET",
        "refresh_token": "refresh-SECRET",
        "client_id": "client",
        "client_secret": "client-SECRET",
        "token_uri": f"{unfriendly.url}/token",
        "scopes": ["https://www.googleapis.com/auth/gmail.send"],
        "expiry": "2099-01-01T00:00:00Z",
    }
    box.home.token.write_text(json.dumps(token))
    Tree(box.root, box.snapshot).submit(ANA, "survey", "print(1)\n")

    started = box.notify("start", check=0)
    wait_until(lambda: worker_status.read(box.home).last_error, what="an attempt failed")
    wait_until(lambda: any(path != "/ping-SECRET" for path in unfriendly.paths), what="an attempt was made")
    status = box.notify("status")
    box.notify("stop", check=0)

    for text in (
        started.stdout + started.stderr,
        status.stdout + status.stderr,
        box.home.log.read_text(),
        box.home.worker_status.read_text(),
        box.home.state.read_text(),
    ):
        assert "SECRET" not in text
    assert OWNER in box.home.config.read_text()
