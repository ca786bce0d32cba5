"""What others hand in: whole or not at all, once, in order, and told whatever lies beside it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import syftnotify
from syftnotify.cli.app import app
from syftnotify.core.errors import EmitError, NotifyError, UnknownKindError
from syftnotify.core.kinds import RESERVED_KINDS, EventKind
from syftnotify.sources.spool import Spool
from syftnotify.store.outbox.store import SqliteOutbox
from syftnotify.system import worker_status
from tests.support import ANA, BO, OWNER, PATIENCE, Box, wait_until
from tests.test_hostile import assert_harmless, is_shown

TOP = Path(__file__).parent.parent


def emit(box: Box, kind: str = "job_failed", entity: str = "run/1", **more: Any) -> str:
    return syftnotify.emit(kind, entity, home=box.home.root, **more)


def spooled(box: Box) -> list[dict[str, Any]]:
    """What waits in the spool, oldest first; what is not whole makes this fail."""
    return [json.loads(path.read_bytes()) for path in sorted(box.home.spool.glob("*.json"))]


def told(box: Box) -> list[str]:
    """Whom the mails are about, one entity for each mail."""
    return [mail.entities[0] for mail in box.mails()]


def looked(box: Box) -> None:
    """Look until nothing is left to look at."""
    while box.look().rescan_soon:
        pass


# -- what may be handed in ---------------------------------------------------------------------------------------------

OTHERS = {
    "new": EventKind.JOB_SUBMITTED,
    "executed": EventKind.JOB_COMPLETED,
    "succeeded": EventKind.JOB_COMPLETED,
    "done": EventKind.JOB_COMPLETED,
    "running": EventKind.JOB_STARTED,
    "Failed": EventKind.JOB_FAILED,
    "timed_out": EventKind.JOB_TIMEOUT,
    "canceled": EventKind.JOB_CANCELLED,
    "job.canceled": EventKind.JOB_CANCELLED,
    "JOB_CANCELED": EventKind.JOB_CANCELLED,
    "new_peer_request": EventKind.PEER_REQUESTED,
    "WORKFLOW_BUILD_FAILED": EventKind.WORKFLOW_BUILD_FAILED,
}
EMITTABLE = [kind for kind in EventKind if kind not in RESERVED_KINDS]
SPELLINGS = [
    *(
        (spelled, kind)
        for kind in EMITTABLE
        for spelled in (kind.value, kind.value.upper(), kind.value.replace("_", ".", 1))
    ),
    *OTHERS.items(),
]


def test_every_kind_is_taken_in_every_spelling(box: Box) -> None:
    """C02, G16, G17"""
    for number, (spelled, _) in enumerate(SPELLINGS):
        emit(box, f" {spelled} " if number % 5 == 0 else spelled)

    assert [event["kind"] for event in spooled(box)] == [kind.value for _, kind in SPELLINGS]


def test_every_kind_is_told(box: Box) -> None:
    """C02, N28"""
    box.configure({"routes": [{"to": ["owner"]}]})
    for kind in EMITTABLE:
        emit(box, kind.value, f"thing/{kind}")
    looked(box)

    assert sorted(mail.event for mail in box.mails()) == sorted(EMITTABLE)


@pytest.mark.parametrize("spelled", [*sorted(RESERVED_KINDS), "SYSTEM.ALERT", "system_alert", " Test "])
def test_emit_reserved_kind_is_refused(box: Box, spelled: str) -> None:
    """C11: only the worker itself sends these; `scheduler_online` may be emitted."""
    with pytest.raises(EmitError, match="is reserved for the worker"):
        emit(box, spelled)

    assert not box.home.spool.exists()


def test_the_command_hands_in_what_it_is_given(box: Box) -> None:
    """G22, N28"""
    words = [
        "--user",
        ANA,
        "--tag",
        "a b",
        "--tag",
        "c",
        "--key",
        "run-7",
        "--payload",
        '{"error": "disk full", "n": 1}',
    ]
    wishes = ["--notify-email", "x@lab.example", "--notify-email", BO, "--notify-on", "failed,job.timeout"]
    wishes += ["--alerts", '{"on_success": true, "on_long_run_minutes": 90, "recipients": ["#jobs"]}']
    done = box.notify("emit", "JOB.FAILED", "--entity", "nightly-sync", *words, *wishes, check=0)

    (event,) = spooled(box)
    assert done.stdout == "emitted nightly-sync job_failed run-7\n"
    assert done.stderr == ""
    assert (event["kind"], event["entity"], event["occurrence"]) == ("job_failed", "nightly-sync", "run-7")
    assert event["payload"] == {
        "error": "disk full",
        "n": 1,
    }
    assert event["routing"] == {
        "user": ANA,
        "tags": ["a b", "c"],
        "notify": {"emails": ["x@lab.example", BO], "on": ["job_failed", "job_timeout"]},
        "alerts": {"on_failure": True, "on_success": True, "on_long_run_minutes": 90, "recipients": ["#jobs"]},
    }
    assert box.home.spool.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in box.home.spool.iterdir()} == {0o600}


def test_a_home_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.notify("emit", "job_failed", "--entity", "run/1", check=0)

    assert [event["entity"] for event in spooled(box)] == ["run/1"]
    assert box.home.root.stat().st_mode & 0o777 == 0o700


REFUSED: list[tuple[list[str], str]] = [
    (["job_failed", "--entity", "x", "--payload", '"text"'], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "null"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "[1, 2]"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "42"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", "true"], "must be a JSON object"),
    (["job_failed", "--entity", "x", "--payload", '{"a": '], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", "{a: 1}"], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", " "], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", '{"a": NaN}'], "not valid JSON"),
    (["job_failed", "--entity", "x", "--payload", '{"a":' * 5000 + "1" + "}" * 5000], "not valid JSON"),
    (["job_failed", "--entity", "x" * 100_000, "--user", "x" * 100_000, "--key", "x" * 100_000], "256 KiB"),
    (["job_faild", "--entity", "x"], "job_failed"),
    (["", "--entity", "x"], "no event kind"),
    (["job_failed", "--entity", ""], "entity"),
    (["job_failed", "--entity", " \n "], "entity"),
    (["job_failed"], "--entity"),
    (["job_failed", "--entity", "x", "--notify-email", "nobody"], "'nobody' is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "#jobs"], "is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "a@x.example\nbcc: b@x.example"], "is not an email address"),
    (["job_failed", "--entity", "x", "--notify-email", "a@x.example", "--notify-on", "faild"], "failed"),
    (["job_failed", "--entity", "x", "--notify-on", "faild"], "failed"),
    (["gpu_available", "--entity", "x", "--notify-on", "gpu_available"], "notify_on has no effect without"),
    (["job_failed", "--entity", "caf\udce9"], ""),
]


def refusal(box: Box, *words: str) -> tuple[int, str]:
    """The exit code of `notify emit`, called in this process, and what it said; a traceback makes this fail."""
    result = CliRunner().invoke(app, ["emit", "--home", str(box.home.root), *words])
    if isinstance(result.exception, NotifyError):  # which `main` turns into words and an exit code
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(("words", "says"), REFUSED, ids=itertools.count())
def test_what_cannot_be_told_is_refused_and_leaves_nothing(box: Box, words: list[str], says: str) -> None:
    """C06, C07: exit code 2."""
    code, said = refusal(box, *words)

    assert (code, says in said) == (2, True), said
    assert not box.home.spool.exists()


def test_emit_conditions_without_recipients_are_warned_of(box: Box) -> None:
    """D8: an earlier event of the job may have named them."""
    box.configure()

    done = box.notify("emit", "job_failed", "--entity", "x", "--notify-on", "job_failed", check=0)

    assert "warning: notify_on has no effect unless" in done.stderr


def test_the_command_says_so_and_ends_with_exit_two(box: Box) -> None:
    """C07"""
    done = box.notify("emit", "job_failed", "--entity", "x", "--payload", "[]", check=2)

    assert "must be a JSON object" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"payload": "text"}, "must be a JSON object"),
        ({"payload": ["a"]}, "must be a JSON object"),
        ({"payload": 42}, "must be a JSON object"),
        ({"payload": {"a": object()}}, "not valid JSON"),
        ({"payload": {1: "a"}}, "not valid JSON"),
        ({"payload": {"a": "\ud800"}}, "not valid JSON"),
        ({"payload": {"a": "x" * 300_000}}, "256 KiB"),
        ({"entity": ""}, "entity"),
        ({"entity": None}, "entity"),
        ({"entity": "\ud800"}, r"\w"),
        ({"user": "\ud800"}, r"\w"),
        ({"tags": ["\ud800"]}, r"\w"),
        ({"key": "\ud800"}, r"\w"),
        ({"notify_emails": ["nobody"]}, "not an email address"),
        ({"notify_emails": BO}, rf"notify_emails must be a list of texts, not one text; write \['{BO}'\]"),
        ({"notify_on": "job_failed"}, "notify_on must be a list"),
        ({"tags": "team-data"}, "tags must be a list"),
        ({"tags": ""}, "tags must be a list"),
    ],
)
def test_python_is_told_the_same_as_an_error_of_its_own(box: Box, arguments: dict[str, Any], says: str) -> None:
    """C07"""
    with pytest.raises(EmitError, match=says):
        emit(box, **arguments)

    assert not box.home.spool.exists()


def test_python_is_told_of_the_nearest_kind(box: Box) -> None:
    with pytest.raises(UnknownKindError, match="did you mean `gpu_available`"):
        emit(box, "gpu_avail")
    with pytest.raises(UnknownKindError):
        emit(box, notify_emails=[BO], notify_on=["job_faild"])

    assert not box.home.spool.exists()


@pytest.mark.parametrize("depth", [251, 252, 253, 254, 255, 900])
def test_a_payload_is_so_deep_or_refused(box: Box, depth: int) -> None:
    payload: dict[str, Any] = {}
    for _ in range(depth):
        payload = {"a": payload}
    with contextlib.suppress(EmitError):
        emit(box, payload=payload)
    emit(box, entity="good")
    looked(box)

    assert "good" in told(box)


def test_a_spool_that_cannot_be_written_is_an_error(box: Box) -> None:
    box.home.spool.write_text("a file")
    done = box.notify("emit", "job_failed", "--entity", "x", check=2)

    assert f"{box.home.spool} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


# -- entities ----------------------------------------------------------------------------------------------------------

ENTITIES = [
    "run/1",
    "  nightly sync  ",
    "two\nlines",
    "../../etc/passwd",
    "/",
    ".hidden.json",
    "žluť/☃/😀",
    "turned \u202e round",
    "\x1b[31mred\x1b[0m",
    "nul\0byte",
    "=?utf-8?q?x=0d=0abcc:?=",
    "<b>bold</b> {{ 7*7 }}",
    "[red]markup[/red]",
    "x" * 1000,
    f"job/D/{OWNER}/{ANA}/survey",
    "key job_failed 1",
]


def test_an_entity_is_kept_as_it_was_typed_and_shown_harmlessly(box: Box) -> None:
    """X11"""
    for entity in ENTITIES:
        emit(box, entity=entity)
    assert [event["entity"] for event in spooled(box)] == ENTITIES
    looked(box)

    assert len(box.mails()) == len(ENTITIES)
    for mail in box.mails():
        assert_harmless(mail, {OWNER})
    history = box.notify("history", "-n", "0", check=0).stdout
    known = [each["entity"] for each in json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout)]
    assert sorted(known) == sorted(ENTITIES)
    assert is_shown(history)
    assert is_shown(box.home.log.read_text() if box.home.log.exists() else "")
    assert len(history.splitlines()) == 3 * len(ENTITIES)


@pytest.mark.parametrize("entity", [" two\nlines ", "-n"])
def test_an_entity_can_be_typed_and_asked_about(box: Box, entity: str) -> None:
    assert refusal(box, "job_failed", f"--entity={entity}")[0] == 0
    looked(box)
    found = json.loads(box.notify("why", "--json", "--", entity, check=0).stdout)

    assert [each["entity"] for each in found] == [entity]


NAMES = [
    *("name", "owner", "submitter", "claimed", "user", "tags", "error", "reason", "return_code", "minutes"),
    *("code", "code_left_out", "stderr", "notify", "alerts", "asked_by", "figures", "started_at", "anything"),
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_payload_holds_the_event_is_told_and_so_are_the_others(box: Box, name: str) -> None:
    """C05, X11: `tags` of another scheduler may be an object, `code` a number."""
    box.configure({"routes": [{"match": {"not": {"tags": "quiet"}}, "to": ["owner"]}]})
    emit(box, entity="good")
    values: list[Any] = [{"a": 1}, [["a"]], 7, "text"]
    for number, value in enumerate(values):
        emit(box, entity=f"odd/{number}", payload={name: value})
    box.look()

    assert sorted(told(box)) == ["good", *(f"odd/{number}" for number in range(len(values)))]


# -- once --------------------------------------------------------------------------------------------------------------


def test_one_key_is_one_event_across_restarts_and_after_it_was_told(box: Box) -> None:
    """Decision *De-duplication*"""
    words = ["emit", "job_failed", "--entity", "nightly", "--key", "run-7"]
    for _ in range(2):
        box.notify(*words, check=0)
        emit(box, "job_failed", "nightly", key="run-7")
        box.notify("run", "--once", check=0)

    assert told(box) == ["nightly"]
    emit(box, "job_completed", "nightly", key="run-7")
    emit(box, "job_failed", "other", key="run-7")
    emit(box, "job_failed", "nightly", key="run-8")
    looked(box)
    assert Counter(told(box)) == {"nightly": 3, "other": 1}


def test_without_a_key_each_is_its_own(box: Box) -> None:
    keys = {emit(box, payload={"n": 1}) for _ in range(5)}
    looked(box)

    assert len(keys) == 5
    assert told(box) == ["run/1"] * 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a b", "c"), ("a", "b c")),
        (("a", "job_failed x"), ("a job_failed", "x")),
        (("a", "1 "), ("a", "1")),
        (("A", "1"), ("a", "1")),
        (("a\n", "1"), ("a", "1")),
        (("a", ""), ("a", "")),
    ],
)
def test_no_two_things_run_together(box: Box, one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = {emit(box, entity=entity, key=key) for entity, key in (one, other)}
    looked(box)

    assert len(keys) == 2
    assert len(box.mails()) == 2


# -- with a worker, without, and switched off --------------------------------------------------------------------------


def test_what_came_while_nobody_worked_is_told_by_the_next_start(box: Box) -> None:
    box.notify("emit", "job_failed", "--entity", "run/1", check=0)
    assert len(spooled(box)) == 1
    box.notify("start", check=0)
    try:
        wait_until(box.mails, what="the mail")
    finally:
        box.notify("stop", check=0)

    assert told(box) == ["run/1"]
    assert spooled(box) == []


@contextlib.contextmanager
def patient(box: Box, **changes: Any) -> Iterator[None]:
    """A worker at rest, that looks every hour unless it is woken."""
    box.configure({"notify": {"interval": 3600}, **changes})
    box.notify("start", check=0)
    try:
        wait_until(lambda: worker_status.read(box.home).watching, what="it looks at what may wake it")
        yield
    finally:
        box.notify("stop", check=0)


@pytest.mark.parametrize("is_first", [False, True])
def test_a_worker_takes_up_what_comes_at_once(box: Box, is_first: bool) -> None:
    """N28: the first event ever, too, although it makes the folder."""
    if not is_first:
        emit(box, entity="before")
    with patient(box):
        emit(box, entity="now")
        wait_until(lambda: "now" in told(box), what="it is told long before the next look is due")
        emit(box, entity="later")
        wait_until(lambda: "later" in told(box), what="and so is the next one")


def test_without_a_tree_it_is_told_all_the_same(box: Box) -> None:
    box.root.rmdir()
    emit(box)
    box.look()

    assert told(box) == ["run/1"]


def test_while_the_switch_is_off_it_waits(box: Box) -> None:
    """G01"""
    box.configure({"notify": {"enabled": False}})
    emit(box)
    box.look()
    assert box.mails() == []
    assert len(spooled(box)) == 1

    box.configure()
    box.look()
    assert told(box) == ["run/1"]


def test_a_rehearsal_takes_nothing_up(box: Box) -> None:
    emit(box)
    box.env["COLUMNS"] = "200"
    said = box.notify("run", "--dry-run", check=0).stdout

    assert len(spooled(box)) == 1
    assert "run/1" in said
    assert "1 message would be sent" in said


def test_a_rehearsal_minds_nothing_that_is_no_event(box: Box) -> None:
    """X11: a pipe, a link into another folder, and a file that its emitter is about to rename."""
    emit(box)
    os.mkfifo(box.home.spool / "0.json")
    (box.home.spool / "1.json").symlink_to(TOP)
    (box.home.spool / ".2.json.half").write_text("{")
    said = box.notify("run", "--dry-run", check=0).stdout

    assert "1 message would be sent" in said
    assert len(list(box.home.spool.iterdir())) == 4


# -- killed ------------------------------------------------------------------------------------------------------------

# Hands in events without an end, and says each key when it is safe; dies where it is told to.
EMITTER = """
import sys
from syftnotify import emit
from syftnotify.system import failpoints
from tests.chaos.death import die_at

home, name, death = sys.argv[1:4]
if death:
    failpoints.on_reach = die_at(death)
for number in range(int(sys.argv[4])):
    emit("job_failed", f"{name}/{number}", home=home)
    print(f"{name}/{number}", flush=True)
"""


def emitter(box: Box, name: str, *, death: str = "", count: int = 100_000) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", EMITTER, str(box.home.root), name, death, str(count)],
        env={**box.environment(), "PYTHONPATH": str(TOP)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.fire
@pytest.mark.parametrize(
    ("death", "whole"), [("file.written:1", 0), ("file.written:3", 2), ("file.renamed:1", 1), ("file.renamed:3", 3)]
)
def test_an_emitter_that_is_killed_leaves_nothing_or_a_whole_event(box: Box, death: str, whole: int) -> None:
    """X01"""
    process = emitter(box, "a", death=death)
    process.communicate(timeout=PATIENCE)

    assert process.returncode == -signal.SIGKILL
    assert [event["entity"] for event in spooled(box)] == [f"a/{number}" for number in range(whole)]
    emit(box, entity="after")
    looked(box)
    assert sorted(told(box)) == sorted([*(f"a/{number}" for number in range(whole)), "after"])
    assert list(box.home.spool.glob("*.damaged-*")) == []


@pytest.mark.fire
def test_emitters_that_are_killed_at_any_time_lose_nothing_that_they_said_was_safe(box: Box) -> None:
    """X01: and while a look takes in what there is."""
    dice = random.Random(7)
    box.home.spool.mkdir(mode=0o700)
    processes = [emitter(box, f"e{number}", count=12) for number in range(8)]
    safe: list[str] = []
    seen: list[str] = []

    def killed(process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(dice.uniform(0.2, 2.0))
        process.kill()
        safe.extend(process.communicate(timeout=PATIENCE)[0].split())

    spool = Spool(box.home.spool)
    with ThreadPoolExecutor(len(processes)) as pool:
        deaths = [pool.submit(killed, process) for process in processes]
        while not all(death.done() for death in deaths):
            taken = spool.scan()
            seen += [event.entity for event in taken.events]
            spool.remove(taken)
        for death in deaths:
            death.result()
    seen += [event.entity for event in spool.scan().events]

    assert Counter(seen).keys() >= set(safe)
    assert max(Counter(seen).values(), default=1) == 1
    assert len(set(seen) - set(safe)) <= len(processes), "at most the one that each was at"
    assert list(box.home.spool.glob("*.damaged-*")) == []


@pytest.mark.fire
def test_eight_emitters_at_once_lose_nothing(box: Box) -> None:
    processes = [emitter(box, f"e{number}", count=5) for number in range(8)]
    for process in processes:
        process.communicate(timeout=PATIENCE)
    assert [process.returncode for process in processes] == [0] * 8
    looked(box)

    told_of: dict[str, list[int]] = defaultdict(list)
    for event in json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout):
        name, _, number = event["entity"].partition("/")
        told_of[name].append(int(number))
    assert told_of == {f"e{number}": list(range(5)) for number in range(8)}
    assert len(box.mails()) == 40


@contextlib.contextmanager
def mortal(box: Box, death: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker that dies where `death` says."""
    heard, told_fd = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.chaos.worker", "--home", str(box.home.root)),
            *("--tell", str(told_fd), "--die-at", death),
        ],
        cwd=TOP,
        env=box.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(told_fd,),
    )
    os.close(told_fd)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(heard)


@pytest.mark.fire
def test_a_worker_that_is_killed_before_it_removes_the_file_tells_the_event_once(box: Box) -> None:
    """X01: the event lies in the outbox, and still in the spool."""
    emit(box)
    with mortal(box, "outbox.enqueued:1") as worker:
        assert worker.wait(PATIENCE) == -signal.SIGKILL
    assert len(spooled(box)) == 1
    with contextlib.closing(SqliteOutbox(box.home.outbox)) as outbox:
        assert outbox.history.counts().waiting == 1

    looked(box)
    looked(box)
    assert told(box) == ["run/1"]
    assert spooled(box) == []


def test_a_file_that_comes_back_after_its_event_was_told_tells_nothing(box: Box) -> None:
    emit(box)
    (path,) = box.home.spool.iterdir()
    content = path.read_bytes()
    for _ in range(3):
        looked(box)
        assert not path.exists()
        path.write_bytes(content)
        path.with_name("0-copy.json").write_bytes(content)
    looked(box)

    assert told(box) == ["run/1"]


# -- what is no event --------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"kind": "job_failed", "entity": "x", "occurrence": "o", "at": "", "payload": {}}
WRONG: dict[str, list[Any]] = {
    "kind": ["job_faild", 5, None, ["job_failed"]],
    "entity": [5, None, {"a": 1}],
    "occurrence": [5, None],
    "at": [5, None],
    "payload": ["text", [], None, 5],
}
GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "torn": json.dumps(GOOD).encode()[:30],
    "binary": bytes(range(256)),
    "text": b"hello",
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "no parts": b"{}",
    "nan": b'{"kind": NaN}',
    "huge": json.dumps({**GOOD, "payload": {"a": "x" * 300_000}}).encode(),
    "deep": b'{"a":' * 100_000,
    "surrogate": json.dumps({**GOOD, "entity": "\ud800"}).encode(),
    **{
        f"{name} {number}": json.dumps({**GOOD, name: value}).encode()
        for name, values in WRONG.items()
        for number, value in enumerate(values)
    },
    **{f"without {name}": json.dumps({k: v for k, v in GOOD.items() if k != name}).encode() for name in GOOD},
}


def lines_about(box: Box, name: str) -> list[str]:
    return [line for line in box.home.log.read_text().splitlines() if f"{name}.json" in line and " WARNING " in line]


def test_what_is_no_event_is_put_aside_and_the_good_ones_beside_it_are_told(box: Box) -> None:
    """X11: each is named in the log, once."""
    emit(box, entity="first")
    for number, content in enumerate(GARBAGE.values()):
        (box.home.spool / f"{number:03d}.json").write_bytes(content)
    emit(box, entity="last")
    for _ in range(2):
        box.notify("run", "--once", check=0)

    assert sorted(told(box)) == ["first", "last"]
    assert spooled(box) == []
    counts = {name: len(lines_about(box, f"{number:03d}")) for number, name in enumerate(GARBAGE)}
    assert counts == dict.fromkeys(GARBAGE, 1)
    assert len(list(box.home.spool.glob("*.damaged-*"))) == len(GARBAGE), "nothing is thrown away"


@pytest.mark.parametrize("depth", [260, 500, 900, 1100])
def test_an_event_that_is_nested_deeply_stops_nothing(box: Box, depth: int) -> None:
    emit(box, entity="good")
    text = json.dumps({**GOOD, "payload": {"a": "HERE"}})
    (box.home.spool / "0.json").write_text(text.replace('"HERE"', '{"a":' * depth + "1" + "}" * depth))
    looked(box)

    assert "good" in told(box)
    assert spooled(box) == []


def odd_files(folder: Path, outside: Path) -> None:
    """Names that end as events do, and are none."""
    (folder / "00-folder.json").mkdir()
    (folder / "01-full.json").mkdir()
    (folder / "01-full.json" / "x.json").write_text(json.dumps(GOOD))
    (folder / "02-loop.json").symlink_to("02-loop.json")
    (folder / "03-folder-elsewhere.json").symlink_to(outside)
    (folder / "04-zero.json").symlink_to("/dev/zero")


def test_folders_and_links_are_put_aside_and_what_they_lead_to_is_left_alone(box: Box) -> None:
    """X11"""
    outside = box.folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    emit(box, entity="good")
    odd_files(box.home.spool, outside)
    (box.home.spool / "05-nowhere.json").symlink_to("nowhere")
    (box.home.spool / ".06-hidden.json").write_text("x")
    (box.home.spool / "07-other.txt").write_text("x")
    box.notify("run", "--once", check=0)

    assert told(box) == ["good"]
    assert (outside / "kept").read_text() == "kept"
    for name in ("00-folder", "01-full", "02-loop", "03-folder-elsewhere", "04-zero"):
        assert len(lines_about(box, name)) == 1, name
        assert not os.path.lexists(box.home.spool / f"{name}.json")


def test_a_pipe_stops_nobody(box: Box) -> None:
    """X11: opening one waits for whoever writes."""
    emit(box, entity="good")
    os.mkfifo(box.home.spool / "0.json")
    process = box.begin("run", "--once", stderr=subprocess.STDOUT)
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 0, said
    assert told(box) == ["good"]


def test_a_file_that_goes_while_it_is_read_stops_nobody(box: Box) -> None:
    """Two that look at once: one of them may be `run --dry-run`."""
    done = threading.Event()

    def rehearse() -> None:
        while not done.is_set():
            Spool(box.home.spool).scan()

    thread = threading.Thread(target=rehearse)
    thread.start()
    try:
        for number in range(12):
            emit(box, entity=f"run/{number}")
            if number % 4 == 3:
                looked(box)
    finally:
        done.set()
        thread.join()

    assert sorted(told(box)) == sorted(f"run/{number}" for number in range(12))
    assert list(box.home.spool.glob("*.damaged-*")) == []


# -- many --------------------------------------------------------------------------------------------------------------

STORY = ["job_submitted", "job_started", "job_completed"]


def places_of(entities: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, entity in enumerate(entities):
        found[entity].append(place)
    return found


@pytest.mark.fire
def test_three_thousand_at_once_are_all_told_none_twice_and_in_order(box: Box) -> None:
    """X06, decision *Order*: 200 mails, and the rest in digests."""
    box.configure({"routes": [{"to": ["owner"]}]})

    def live(number: int) -> None:
        for kind in STORY:
            emit(box, kind, f"run/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(1000)))
    looked(box)
    box.clock.advance(601)
    box.look()

    single = [mail for mail in box.mails() if mail.event != "digest"]
    digests = [mail for mail in box.mails() if mail.event == "digest"]
    assert (len(single), len(digests)) == (200, 2), "a digest now, and one after ten minutes"
    assert sum(int(digest.message["X-SyftNotify-Items"]) for digest in digests) == 2800
    for places in places_of(mail.entities[0] for mail in single).values():
        assert [single[place].event for place in places] == STORY[: len(places)]
    history = json.loads(box.notify("history", "-n", "0", "--json", check=0).stdout)
    assert Counter(each["state"] for each in history) == {"sent": 3000}
    for places in places_of(each["entity"] for each in history).values():
        assert [history[place]["event"] for place in places] == STORY
    assert spooled(box) == []


def test_what_was_handed_in_during_time_off_is_one_message(box: Box) -> None:
    box.look()
    box.new_mails()
    for number in range(30):
        emit(box, "job_failed", f"run/{number}", user=OWNER)
    box.clock.advance(3 * 86400)
    box.look()

    (mail,) = [mail for mail in box.new_mails() if mail.to == OWNER]
    assert len(mail.entities) == 30
