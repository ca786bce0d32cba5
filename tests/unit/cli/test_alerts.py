"""`notify alerts`: rules are created, listed, removed and refused."""

from __future__ import annotations

import pytest

from tests.queries import add_alert_rule, json_list
from tests.support import BO, Box
from tests.trees import Tree


def test_alerts_list_shows_values_and_defaults(box: Box, alert_tree: Tree) -> None:
    """A01, A08"""
    first = add_alert_rule(box, "--job", "nightly-*", "--webhook", "https://hooks.example/secret")
    second = add_alert_rule(box, "--tag", "team-data", "--email", BO, "--no-on-timeout", "--on-success")
    add_alert_rule(box, "--job", "slow", "--email", BO, "--on-long-run-minutes", "90")

    listed = json_list(box, "alerts", "list")
    assert [rule["id"] for rule in listed[:2]] == [first, second]
    assert {**listed[0], "id": "", "created_at": ""} == {
        "id": "",
        "job": "nightly-*",
        "tag": None,
        "alert_type": "webhook",
        "target": "hooks.example",
        "on_failure": True,
        "on_timeout": True,
        "on_success": False,
        "on_long_run_minutes": None,
        "created_at": "",
    }
    assert (listed[1]["on_timeout"], listed[1]["on_success"], listed[1]["alert_type"]) == (False, True, "email")
    assert listed[2]["on_long_run_minutes"] == 90

    shown = box.notify("alerts", "list", check=0).stdout
    assert f"{second}  jobs tagged team-data failed, completed -> {BO}" in shown
    assert "secret" not in shown
    assert box.notify("alerts", "list", "team-data", check=0).stdout.startswith(second)
    box.notify("alerts", "rm", second[:6], check=0)
    assert [rule["target"] for rule in json_list(box, "alerts", "list")] == ["hooks.example", BO]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--email", BO], "pass --job or --tag"),
        (["--job", "a", "--tag", "b", "--email", BO], "either --job or --tag"),
        (["--job", "a"], "either --email or --webhook"),
        (["--job", "a", "--email", BO, "--webhook", "oncall"], "either --email or --webhook"),
        (["--job", "a", "--email", "nobody"], "'nobody' is not a mail address"),
        (
            ["--job", "a", "--email", "https://hooks.example/secret"],
            "expected a mail address, got a URL pass `--webhook` instead",
        ),
        (["--job", "a", "--webhook", BO], f"'{BO}' is a mail address pass `--email` instead"),
        (["--job", "a", "--webhook", "oncall"], "'oncall' is not a transport of type discord or webhook"),
        (["--job", "a", "--webhook", "ftp://hooks.example/x"], "expected a URL such as https://"),
        (["--job", "a", "--webhook", "https://exa mple/x"], "expected a URL such as https://"),
        (["--job", "a", "--email", BO, "--no-on-failure", "--no-on-timeout"], "would never alert"),
        (["--job", "a", "--email", BO, "--on-long-run-minutes", "0"], "above 0"),
    ],
)
def test_alerts_add_with_wrong_arguments_is_refused(
    box: Box, alert_tree: Tree, arguments: list[str], error: str
) -> None:
    done = box.notify("alerts", "add", *arguments, check=2)
    assert error in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert not box.home.outbox.exists()


def test_alerts_rm_with_unknown_id_removes_nothing(box: Box, alert_tree: Tree) -> None:
    add_alert_rule(box, "--job", "a", "--email", BO)
    assert "there is no alert rule 'zz'" in box.notify("alerts", "rm", "zz", check=1).stderr
    assert len(json_list(box, "alerts", "list")) == 1


def test_alerts_add_sign_in_over_plain_http_warns(box: Box) -> None:
    """C10"""
    arguments = ("--job", "survey", "--webhook", "http://me:t0p@hooks.example/x")
    done = box.notify("alerts", "add", *arguments, check=0)

    assert "unencrypted" in done.stderr
    assert "t0p" not in done.stderr + done.stdout


@pytest.mark.parametrize("url", ["https://hooks.invalid/T0KEN", "http://127.0.0.1:9/T0KEN", "http://hooks.invalid/"])
def test_alerts_add_url_without_exposure_does_not_warn(box: Box, url: str) -> None:
    """C10"""
    assert "unencrypted" not in box.notify("alerts", "add", "--job", "x", "--webhook", url, check=0).stderr


def test_identical_rule_is_refused(box: Box, alert_tree: Tree) -> None:
    add = ("alerts", "add", "--job", "a", "--email", BO)
    box.notify(*add, check=0)

    assert "the same alert rule exists" in box.notify(*add, check=1).stderr
    box.notify(*add, "--on-success", check=0)
    assert len(json_list(box, "alerts", "list")) == 2
