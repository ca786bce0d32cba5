"""Settings that must fit together, and recipients."""

from __future__ import annotations

import pytest
import yaml

from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from tests.config_files import config_errors, write_config


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("to: b@x.org", "`to` needs"),
        ("filter_users: b*", "`filter_users` needs"),
        ("filter_users: b*, to: b@x.org", "`filter_users` and `to` need"),
    ],
)
def test_transport_recipients_without_events_are_an_error(home: Home, settings: str, names: str) -> None:
    """G05, G07: the setting would have no effect."""
    text = f"do_email: o@x.org\ntransports: {{box: {{type: maildir, {settings}}}}}\n"

    assert config_errors(home, text) == [f"transports.box: {names} `events` as well (['*'] for all)"]


@pytest.mark.parametrize("setting", ["to: []", "match: {job: []}", "events: []"])
def test_route_with_an_empty_list_is_refused(home: Home, setting: str) -> None:
    """D8: an empty `to` would otherwise be the default recipient."""
    (line,) = config_errors(home, f"do_email: o@x.org\nroutes: [{{{setting}}}]\n")

    assert "got []" in line


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("uni.example", "has no @, so it matches no address; write a whole address, or a pattern such as '*@uni."),
        ("@uni.example", "has nothing before the @"),
        ("ana@", "has nothing after the @"),
        ("#jobs", "has no @"),
        ("ana@uni.example, bo@uni.example", "expected one address or pattern without blanks per entry"),
        (" *@uni.example", "without blanks"),
    ],
)
def test_allowed_recipient_that_matches_no_address_is_refused(home: Home, entry: str, reason: str) -> None:
    """D8"""
    (line,) = config_errors(home, f"do_email: o@x.org\nrecipients: {{allow: ['{entry}']}}\n")

    assert line.startswith("recipients.allow[0]: ")
    assert reason in line


@pytest.mark.parametrize("entry", ["*", "ana@uni.example", "*@uni.example", "a?a@[u]ni.example", "*.example"])
def test_allowed_recipient_that_matches_addresses_is_accepted(home: Home, entry: str) -> None:
    """D8"""
    load(write_config(home, f"do_email: o@x.org\nrecipients: {{allow: ['{entry}']}}\n"))


@pytest.mark.parametrize("entry", ["#jobs", "@ana", "oncall"])
def test_allowed_recipient_of_a_transport_without_addresses_is_accepted(home: Home, entry: str) -> None:
    """D8"""
    transports = (
        "{m: {type: maildir}, s: {type: slack, url: 'https://x.example'}, oncall: {type: webhook, url: 'https://x'}}"
    )
    load(write_config(home, f"do_email: o@x.org\ntransports: {transports}\nrecipients: {{allow: ['{entry}']}}\n"))


def test_quiet_hours_without_an_end_are_refused(home: Home) -> None:
    """D8"""
    (line,) = config_errors(home, "do_email: o@x.org\nquiet_hours: {from: 22:00, to: '22:00'}\n")

    assert line.startswith("quiet_hours: `from` and `to` are both 22:00, so every hour is quiet; set different times")
    load(write_config(home, "do_email: o@x.org\nquiet_hours: {from: '00:00', to: '00:00', days: [sat, sun]}\n"))


@pytest.mark.parametrize("name", ["", "on call", "#jobs", "@ana", "a@b.example", "a\tb"])
def test_transport_name_that_reads_as_a_recipient_is_refused(home: Home, name: str) -> None:
    """D8"""
    content = {"do_email": "o@x.org", "transports": {name: {"type": "maildir"}}}
    (line,) = config_errors(home, yaml.safe_dump(content))

    assert line.startswith("transports: ")
    assert "cannot be the name of a transport; use one without blanks, # and @" in line
