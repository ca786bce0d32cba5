"""Services return records, print nothing, and raise errors that name the next step."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.core.models import NotificationState
from syftnotify.runtime.opening import create_outbox, open_outbox, read_ledger, state_access
from syftnotify.services import alert_rules, dead_letters, history
from syftnotify.services.arguments import UsageError
from syftnotify.services.demo import Tree
from syftnotify.services.doctor.checks import run_checks
from syftnotify.services.doctor.findings import Level
from syftnotify.services.settings import load
from syftnotify.services.setup.options import SetupOptions
from syftnotify.services.setup.plan import check_options, plan_setup
from syftnotify.services.setup.writing import write_setup
from syftnotify.services.status import RunState, read_status
from syftnotify.services.test_send import send_tests
from syftnotify.system.paths import Home
from tests.support import ANA, OWNER, Box


@pytest.fixture
def scanned(box: Box) -> Box:
    """A home with one job that was submitted after the baseline scan."""
    tree = Tree(box.root, box.snapshot)
    tree.grant(ANA)
    box.scan()
    tree.submit(ANA, "survey", "print(1)\n")
    box.clock.advance(10)
    box.scan()
    return box


def test_find_notifications_returns_matching_records_oldest_first(scanned: Box) -> None:
    conditions = history.parse_filter(states=["sent"], kinds=["job_submitted"], about="survey")
    with open_outbox(scanned.home) as outbox:
        assert outbox is not None
        found = history.find_notifications(outbox, conditions)

    assert conditions.kinds == (EventKind.JOB_SUBMITTED,)
    assert conditions.has_conditions
    assert sorted(record.recipient for record in found) == sorted([OWNER, ANA])
    assert {record.state for record in found} == {NotificationState.SENT}


def test_filter_limit_alone_is_no_condition() -> None:
    assert not history.parse_filter(limit=50).has_conditions
    assert history.parse_filter(limit=0).limit is None


def test_explain_returns_events_with_their_notifications(scanned: Box) -> None:
    with open_outbox(scanned.home) as outbox:
        assert outbox is not None
        explanation = history.explain(outbox, read_ledger(scanned.home), "survey")

    (explained,) = explanation.events
    assert explanation.entities == [explained.event.entity]
    assert len(explained.notifications) == 2
    with pytest.raises(FrozenInstanceError):
        explained.notifications = ()  # type: ignore[misc] # what the test attempts


def test_explain_without_a_usable_ledger_uses_the_outbox(scanned: Box) -> None:
    scanned.home.state.write_bytes(b"damaged")

    assert read_ledger(scanned.home) is None
    assert scanned.home.state.read_bytes() == b"damaged"
    with open_outbox(scanned.home) as outbox:
        assert outbox is not None
        assert history.explain(outbox, None, "survey").events


def test_open_outbox_before_the_first_start_is_none(box: Box) -> None:
    with open_outbox(box.home) as outbox:
        assert outbox is None
    assert not box.home.outbox.exists()


@pytest.mark.parametrize(
    "selection", [{}, {"ids": ("abcd",), "all_dead": True}, {"ids": ("abcd",), "since": 0.0}], ids=str
)
def test_resend_selection_needs_one_kind_of_condition(selection: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        dead_letters.ResendSelection(**selection)  # type: ignore[arg-type] # values of different types


def test_resend_without_dead_letters_requeues_nothing(scanned: Box) -> None:
    with open_outbox(scanned.home) as outbox:
        assert outbox is not None
        selection = dead_letters.ResendSelection(all_dead=True)
        assert dead_letters.resend(scanned.home, outbox, selection) == dead_letters.ResendResult(0)
        assert dead_letters.list_dead_letters(scanned.home, outbox) == dead_letters.DeadLetterList(())


def test_alert_rule_is_created_listed_and_removed(box: Box) -> None:
    new = alert_rules.create_rule(box.home, alert_rules.RuleOptions(job="nightly-*", email=ANA))
    with create_outbox(box.home) as outbox:
        outbox.alert_rules.add(new.rule)
        assert alert_rules.list_rules(outbox, "nightly-*") == [new.rule]
        assert alert_rules.list_rules(outbox, "other") == []
        assert alert_rules.remove_rule(outbox, new.rule.id[:4]) == new.rule
        with pytest.raises(NotifyError, match="there is no alert rule"):
            alert_rules.remove_rule(outbox, new.rule.id)
    assert new.warning == ""


def test_alert_rule_for_an_unencrypted_url_has_a_warning(box: Box) -> None:
    options = alert_rules.RuleOptions(job="a", webhook="http://hooks.example/token")

    assert "https://" in alert_rules.create_rule(box.home, options).warning


def test_doctor_yields_findings_of_each_group(scanned: Box) -> None:
    found = list(run_checks(scanned.home, state_access(scanned.home)))

    assert {finding.check for finding in found} >= {"home", "config", "SyftBox", "transport box", "disk", "outbox"}
    assert [finding for finding in found if finding.level is Level.FAIL] == []


def test_status_of_a_stopped_worker_names_what_prevents_a_start(box: Box) -> None:
    assert read_status(box.home).notices == ()
    box.home.config.write_text("do_email: 5\n", encoding="utf-8")
    status = read_status(box.home)

    assert (status.run_state, status.is_running, status.pid) == (RunState.NOT_RUNNING, False, None)
    assert "do_email" in status.notices[0]


def test_send_tests_returns_a_result_for_each_transport(box: Box) -> None:
    (result,) = send_tests(load(box.home))

    assert (result.transport, result.error) == ("box", None)
    assert str(box.home.mail) in result.destination


def test_setup_writes_a_configuration_from_options(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    options = SetupOptions(email=f" {OWNER} ", syftbox_root=tmp_path, transport="maildir", interval=30.0)
    result = write_setup(plan_setup(home, options))

    assert result.is_changed
    assert result.mail is not None
    assert load(home).config.do_email == OWNER
    assert write_setup(plan_setup(home, SetupOptions())).is_changed is False


def test_setup_without_an_address_writes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    with pytest.raises(ConfigError, match="mail address is missing"):
        check_options(home, SetupOptions(transport="maildir"))

    assert not home.root.exists()
