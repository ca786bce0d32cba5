"""Random content of the program's own files: used, refused with a message, or quarantined."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from syftnotify.core.errors import ConfigError, NotSignedInError
from syftnotify.core.kinds import EventKind
from syftnotify.services.settings import load
from syftnotify.store.ledger.index import Ledger
from syftnotify.store.ledger.manager import JsonStateManager
from syftnotify.system import worker_lock, worker_status
from syftnotify.system.paths import Home
from syftnotify.transports.gmail.token_file import SavedToken, sign_in_ends, signed_in_at
from tests.in_process import run_command
from tests.property.strategies import (
    anything,
    as_json,
    as_yaml,
    content,
    json_scalars,
    json_values,
    keys,
    nested,
    quickly,
)
from tests.support import ANA, FUZZ_FACTOR, OWNER

pytestmark = pytest.mark.thorough

FULL: dict[str, Any] = {
    "do_email": OWNER,
    "syftbox_root": "SyftBox",
    "notify": {
        "enabled": True,
        "interval": 30,
        "watch": "auto",
        "monitor_jobs": True,
        "monitor_peers": True,
        "max_concurrent_deliveries": 16,
        "on_unknown": "resend",
        "sync_state_path": "sync.json",
        "notify_state_path": "notify.json",
    },
    "transports": {
        "mail": {
            "type": "gmail",
            "token": "t",
            "api_endpoint": "http://127.0.0.1:1",
            "timeout_secs": 9,
            "rate": 1,
            "burst": 2,
        },
        "post": {
            "type": "smtp",
            "smtp_url": "smtp://127.0.0.1:25",
            "from": "A <a@b.example>",
            "ca_file": "ca",
            "max_retries": 3,
        },
        "box": {"type": "maildir", "path": "mail", "rate": 2, "on_unknown": "hold"},
    },
    "recipients": {"allow": ["*@uni.example"]},
    "links": {
        "job": "https://x.example/{job}",
        "results": "https://x.example/{owner}",
        "peer": "https://x.example/{peer}",
    },
    "operator": ["op@x.example"],
    "heartbeat": {"ping_url": "https://ping.example/x"},
}


def paths_in(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from paths_in(inner, (*above, key))


def replaced(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(whole)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


odd_texts = st.sampled_from(
    [
        "https://[", "https://x/{job.__class__}", "https://x/{0}", "https://x/{job!r:>{owner}}", "https://x/{",
        "{job}", "smtp://u:p@h:99999", "smtp://h:port", "smtps://h?tls=", "smtp://h?tls=off&x=1", "http://[::1",
        "~nobody-here/x", "~", "a@b", "<a@b>", "A <a@b.c>, <d@e.f>", "18:30", "24:00", "*", "[", "2026-01-01", "on",
        "off", "maildir", "gmail",
    ]
)  # fmt: skip
configs = st.builds(replaced, st.just(FULL), st.sampled_from(list(paths_in(FULL))), anything | odd_texts)
more_keys = st.builds(
    lambda path, key, value: replaced(FULL, (*path, key), value),
    st.sampled_from([(), *(path for path in paths_in(FULL) if path[-1] in {"notify", "mail", "post", "box", "links"})]),
    keys,
    anything,
)


@example(content=b"x: !!timestamp 'soon'\n")
@given(content=content | (configs | more_keys).map(as_yaml))
@settings(quickly, max_examples=60 * FUZZ_FACTOR)
def test_random_configuration_is_valid_or_a_config_error(content: bytes) -> None:
    """S15, X11."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        home = Home(Path(folder))
        home.config.write_bytes(content)
        with contextlib.suppress(ConfigError):
            loaded = load(home)
            assert loaded.default_mail_transport in loaded.config.transports


OUR_PARTS = ["occurrences", "reruns", "undecided", "vanished", "first_look"]
JOB = f"job/B4/{OWNER}/{ANA}/a"
by_entity = st.dictionaries(st.just(JOB) | st.text(max_size=4), json_values, max_size=3)
states = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "notified": by_entity | json_values,
        "owed": by_entity | json_values,
        "data": st.fixed_dictionaries(
            {},
            optional={"syftnotify": st.dictionaries(st.sampled_from(OUR_PARTS), by_entity | json_values) | json_values},
        )
        | json_values,
    },
)
labels = st.lists(st.sampled_from(["new", "executed", "job_failed@x"]) | json_scalars, max_size=3)
nearly_right = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "notified": st.dictionaries(st.just(JOB), labels, max_size=1),
        "owed": st.dictionaries(st.just(JOB), labels, max_size=1),
        "data": st.fixed_dictionaries(
            {
                "syftnotify": st.fixed_dictionaries(
                    {},
                    optional=dict.fromkeys(
                        OUR_PARTS, st.dictionaries(st.just(JOB), json_values, max_size=1) | json_values
                    ),
                )
            }
        ),
    }
)


def spelled(value: Any) -> bytes:
    """JSON as strict readers take it; what it cannot represent is discarded."""
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode("utf-8")
    except ValueError:
        assume(False)
        raise
    return text.encode("utf-8")


@example(content=spelled({"version": 1, "notified": {JOB: [None]}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"occurrences": {JOB: []}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"reruns": {JOB: 1.5}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"vanished": {JOB: []}}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"undecided": []}}}))
@example(content=spelled({"version": 1, "data": {"syftnotify": {"first_look": 1}}}))
@given(content=(states | nearly_right | json_values).map(spelled) | st.binary(max_size=100) | nested)
@settings(quickly, max_examples=120 * FUZZ_FACTOR)
def test_random_state_file_is_used_or_quarantined(content: bytes) -> None:
    """X02: whatever its content, each query has an answer and each mark is kept."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "state.json"
        path.write_bytes(content)
        ledger = Ledger(path)
        for kind in (EventKind.JOB_SUBMITTED, EventKind.JOB_COMPLETED):
            ledger.is_recorded(JOB, kind, "T1")
            ledger.label(JOB, kind, "T1")
        ledger.rerun_count(JOB, "T0")
        ledger.end_count(JOB)
        ledger.is_unreadable(JOB)
        back = ledger.reappeared_at(JOB)
        assert back is None or isinstance(back, (int, float))
        ledger.is_unstable(JOB)
        ledger.baseline(f"jobs {OWNER}")
        for entity, owed in ledger.owed().items():
            for label in owed:
                ledger.clear_owed(entity, label)
        ledger.record_vanished(lambda _entity: True)
        ledger.record_reappeared([JOB], [JOB], 1e9)
        ledger.set_rerun_count(JOB, "T0", 1)
        ledger.update_unreadable({JOB}, set())
        ledger.update_unreadable(set(), {JOB})
        ledger.mark_owed(JOB, EventKind.JOB_FAILED, "T9")
        ledger.mark_settled(JOB, EventKind.JOB_FAILED, "T9")
        ledger.record_baseline("jobs x", "now")
        ledger.save()
        state = JsonStateManager(path)
        state.set_data("mine", 1)
        state.mark_notified(JOB, "mine")
        again = JsonStateManager(path)

        assert again.was_notified(JOB, "mine")
        assert again.get_data("mine") == 1
        assert Ledger(path).is_recorded(JOB, EventKind.JOB_FAILED, "T9")


reports = st.dictionaries(
    st.sampled_from(list(worker_status.WorkerStatus.__dataclass_fields__)) | st.text(max_size=4), json_values
)
odd_reports = st.fixed_dictionaries(
    {},
    optional={
        "last_scan": st.fixed_dictionaries({"at": json_scalars, "seconds": json_scalars}),
        "last_scan_s": json_scalars,
        "interval": json_scalars,
        "failures": st.dictionaries(
            st.text(max_size=4),
            st.fixed_dictionaries({}, optional={"count": json_scalars, "error": json_scalars}),
            max_size=2,
        ),
        "pid": st.just(os.getpid()) | json_scalars,
        "phase": st.sampled_from(worker_status.Phase) | json_scalars,
        "reported_s": json_scalars,
        "scanned": json_scalars,
        "total": json_scalars,
        "ended": json_scalars,
        "transports": st.dictionaries(
            st.text(max_size=4),
            st.fixed_dictionaries(
                {}, optional={"type": json_scalars, "problem": json_scalars, "can_send": json_scalars}
            ),
            max_size=2,
        ),
    },
)


@example(content=b'{"last_scan": {}}')
@example(content=b'{"pid": -1, "reported_s": -9e10}')
@example(content=as_json({"last_scan_s": 10**400}))
@example(content=as_json({"last_scan_s": 1, "last_scan": {"at": None, "seconds": 10**400}}))
@given(content=(reports | odd_reports | json_values).map(as_json) | st.binary(max_size=100) | nested)
@quickly
def test_random_worker_status_file_does_not_break_status(content: bytes) -> None:
    """S16."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        home = Home(Path(folder))
        home.worker_status.write_bytes(content)
        report = worker_status.read(home)
        assert report.home == str(home.root)
        worker_status.health_problems(report, 1e9)
        with worker_lock.acquire(home), contextlib.redirect_stdout(io.StringIO()) as out:
            assert run_command(home, "status", "--json") in {0, 4}
            json.loads(out.getvalue())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert run_command(home, "status") == 3


TOKEN = {
    "token": "a",
    "refresh_token": "b",
    "token_uri": "https://oauth2.googleapis.com/token",
    "client_id": "c",
    "client_secret": "d",
    "scopes": ["https://www.googleapis.com/auth/gmail.send"],
    "universe_domain": "googleapis.com",
    "account": "",
    "expiry": "2099-01-01T00:00:00Z",
    "signed_in_at": 1,
    "refresh_token_expires_in": 2,
}
tokens = st.builds(lambda key, value: {**TOKEN, key: value}, st.sampled_from(list(TOKEN)), json_values)


@example(content=b"[" * 3000)
@example(content=as_json({**TOKEN, "signed_in_at": 10**400}))
@given(content=(tokens | json_values).map(as_json) | st.binary(max_size=100) | nested)
@quickly
def test_random_token_is_valid_or_needs_sign_in(content: bytes) -> None:
    """S03: before any request to Google."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "gmail_token.json"
        path.write_bytes(content)
        with contextlib.suppress(NotSignedInError):
            SavedToken(path)
        for moment in (signed_in_at(path), sign_in_ends(path)):
            assert moment is None or isinstance(moment, float)
