"""Values of settings: numbers, durations, times, URLs and patterns."""

from __future__ import annotations

import sys

import httpx
import pytest

from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from tests.config_files import config_errors, write_config


@pytest.mark.parametrize("value", ["0", "-1", "86401", "true", "'30'", "[]", ".nan", ".inf"])
def test_interval_out_of_range_is_refused(home: Home, value: str) -> None:
    (line,) = config_errors(home, f"do_email: o@x.org\nnotify: {{interval: {value}}}\n")

    assert line.startswith("notify.interval: expected a number from 1 to 86400 (seconds), got ")


def test_digest_interval_is_at_most_seven_days(home: Home) -> None:
    """X06: the outbox would treat a later time as a clock that jumped, and send at once."""
    text = "do_email: o@x.org\ndigest: {every: %s}\n"
    for value in ("8d", "700000s", "2w"):
        (line,) = config_errors(home, text % value)
        assert line.startswith("digest.every: expected at most 7d, got ")
    for value in ("7d", "1w", "604800s"):
        digest = load(write_config(home, text % value)).config.digest
        assert digest is not None
        assert digest.interval == 7 * 86400


@pytest.mark.parametrize(
    ("spelling", "watch"),
    [("auto", "auto"), ("on", "on"), ("off", "off"), ("true", "on"), ("false", "off"), ("yes", "on")],
)
def test_watch_accepts_yaml_booleans(home: Home, spelling: str, watch: str) -> None:
    """G01"""
    assert load(write_config(home, f"do_email: o@x.org\nnotify: {{watch: {spelling}}}\n")).config.notify.watch == watch


@pytest.mark.parametrize(
    ("url", "is_valid"),
    [
        ("https://x.example/y", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://x.example", False),
        ("ftp://x.example", False),
        ("data:text/plain,x", False),
        ("https://", False),
    ],
)
def test_plain_http_endpoint_only_on_loopback(home: Home, url: str, is_valid: bool) -> None:
    text = f"do_email: o@x.org\ntransports: {{m: {{type: gmail, api_endpoint: '{url}'}}}}\n"
    if is_valid:
        assert load(write_config(home, text)).config.transports["m"].model_dump()["api_endpoint"] == url
    else:
        assert config_errors(home, text) == [
            "transports.m.api_endpoint: expected an https URL (http only for this machine)"
        ]


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example:0/y",
        "https://x.example:99999/y",
        "https://:1/y",
        "https://[::1/y",
        "https://127.0.0.01/y",
        "https://a b.example/y",
        "https://☃.example/y",
        "https://xn--ls8h.example/y",
        "https://x.example/" + "y" * 65536,
    ],
    ids=lambda url: url[:30],
)
def test_url_to_which_no_request_can_be_sent_is_refused(home: Home, url: str) -> None:
    assert config_errors(home, f"do_email: o@x.org\nheartbeat: {{ping_url: '{url}'}}\n") == [
        "heartbeat.ping_url: expected an https URL (http only for this machine)"
    ]
    (line,) = config_errors(
        home, f"do_email: o@x.org\ntransports: {{m: {{type: webhook, url: '{url}'}}}}\nroutes: []\n"
    )
    assert line == "transports.m.url: expected a URL such as 'https://hooks.example/x'"


@pytest.mark.parametrize(
    "host",
    ["x", "x_1.example.", "1.example", "127.0.0.1", "[::1]", "[fd00::1]:8080", "bücher.example", "xn--bcher-kva.de"],
)
def test_url_of_any_valid_host_is_accepted(home: Home, host: str) -> None:
    text = f"do_email: o@x.org\ntransports: {{m: {{type: slack, url: ' https://{host}/a?b=|%'}}}}\nroutes: []\n"
    url = load(write_config(home, text)).config.transports["m"].model_dump()["url"].get_secret_value()

    assert url == f"https://{host}/a?b=|%"
    assert httpx.URL(url).host


def test_refused_ping_url_is_not_repeated(home: Home) -> None:
    (line,) = config_errors(home, "do_email: o@x.org\nheartbeat: {ping_url: 'http://x.example/secret'}\n")

    assert "secret" not in line


def test_value_of_a_fixed_set_lists_the_allowed_ones(home: Home) -> None:
    """D9"""
    assert config_errors(home, "do_email: o@x.org\nnotify: {on_unknown: drop}\nroutes: [{via: [m]}]\n") == [
        "notify.on_unknown: expected resend or hold, got 'drop'",
        "routes[0].via: expected text, got a list",
    ]


@pytest.mark.parametrize("pattern", ["[a-", "a[", "[]", "[!]", "x[[]["])
@pytest.mark.parametrize(
    "setting",
    ["routes: [{match: {job: '%s'}}]", "routes: [{match: {not: {tags: ['%s']}}}]", "recipients: {allow: ['%s']}"],
)
def test_pattern_with_an_unclosed_bracket_is_refused(home: Home, setting: str, pattern: str) -> None:
    """D8"""
    (line,) = config_errors(home, f"do_email: o@x.org\n{setting % pattern}\n")

    assert "unclosed bracket" in line


def test_pattern_that_matches_no_character_is_refused(home: Home) -> None:
    """D8"""
    (line,) = config_errors(home, "do_email: o@x.org\nroutes: [{match: {job: 'x[z-a]'}}]\n")

    assert "no character matches" in line


@pytest.mark.parametrize("pattern", ["[a-z]*", "[[]x", "[]]", "[!]]", "a]b", "run[0-9]", "*"])
def test_pattern_with_closed_brackets_is_accepted(home: Home, pattern: str) -> None:
    """D8"""
    route = load(write_config(home, f"do_email: o@x.org\nroutes: [{{match: {{job: '{pattern}'}}}}]\n")).config.routes

    assert route is not None
    assert route[0].match.job == (pattern,)


@pytest.mark.parametrize("path", ["notify.interval", "transports.m.timeout_secs"])
@pytest.mark.parametrize(
    ("text_in_file", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("0.5 m", 30), ("1H", 3600)]
)
def test_seconds_take_a_number_or_a_duration(home: Home, path: str, text_in_file: str, seconds: float) -> None:
    """D8: seed 002 has `interval: 30`."""
    section = f"{{type: gmail, timeout_secs: {text_in_file}}}" if "timeout" in path else "{type: gmail}"
    interval = text_in_file if "interval" in path else "30"
    config = load(
        write_config(home, f"do_email: o@x.org\nnotify: {{interval: {interval}}}\ntransports: {{m: {section}}}\n")
    ).config

    found = config.notify.interval if "interval" in path else config.transports["m"].model_dump()["timeout_secs"]
    assert found == seconds


DURATIONS = [
    "reminders: {job_waiting: %s}",
    "reminders: {job_long_running: [2h, %s]}",
    "digest: {within: %s}",
    "digest: {every: %s}",
    "retention: %s",
]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((setting, "24") for setting in DURATIONS),
        *(("retention: %s", value) for value in ("24.0", "'24'", "true", "-1h", "h", "1x", "1h30m")),
    ],
)
def test_duration_without_a_unit_is_refused(home: Home, setting: str, value: str) -> None:
    """D8: 24 would be 24 seconds."""
    (line,) = config_errors(home, f"do_email: o@x.org\n{setting % value}\n")

    assert "expected a duration with a unit such as 90s, 10m, 2h, 3d or 26w, got " in line


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((setting, "36500d") for setting in DURATIONS),
        *(("retention: %s", value) for value in ("0s", "0d", "9999999w")),
    ],
)
def test_duration_out_of_range_is_refused_with_the_range(home: Home, setting: str, value: str) -> None:
    """D8"""
    (line,) = config_errors(home, f"do_email: o@x.org\n{setting % value}\n")

    least = "more than 0s and " if value.startswith("0") else ""
    assert f"expected {least}at most {'7' if 'every' in setting else '7320'}d, got '{value}'" in line


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((setting, "3d") for setting in DURATIONS),
        *(("retention: %s", value) for value in ("90s", "10m", "2h", "1w", "'1.5 h'")),
    ],
)
def test_duration_with_a_unit_is_accepted(home: Home, setting: str, value: str) -> None:
    """D8"""
    load(write_config(home, f"do_email: o@x.org\n{setting % value}\n"))


@pytest.mark.parametrize(("text_in_file", "hour"), [("22:00", 22), ("'22:00'", 22), ("8:30", 8), ("0:30", 0)])
def test_time_of_day_needs_no_quotes(home: Home, text_in_file: str, hour: int) -> None:
    """D9: YAML 1.1 would read 22:00 as a number."""
    text = (
        f"do_email: o@x.org\nquiet_hours: {{from: {text_in_file}, to: '07:00'}}\nheartbeat: {{daily: {text_in_file}}}\n"
    )
    config = load(write_config(home, text)).config

    assert config.quiet_hours is not None
    assert config.heartbeat.daily is not None
    assert config.quiet_hours.begin.hour == config.heartbeat.daily.hour == hour


@pytest.mark.parametrize(
    ("text_in_file", "got"),
    [
        ("25:00", "'25:00'"),
        ("24:00", "'24:00'; midnight is 00:00"),
        ("'24:00'", "'24:00'; midnight is 00:00"),
        ("12:60", "'12:60'"),
        ("1200", "1200"),
        ("22:00:00", "'22:00:00'"),
        ("22.5", "22.5"),
        ("true", "True"),
        ("soon", "'soon'"),
    ],
)
def test_wrong_time_of_day_is_shown_as_written(home: Home, text_in_file: str, got: str) -> None:
    """D9"""
    text = f"do_email: o@x.org\nquiet_hours: {{from: {text_in_file}, to: '07:00'}}\n"

    assert config_errors(home, text) == [f"quiet_hours.from: expected a time of day such as '22:00', got {got}"]


def test_unknown_time_zone_suggests_the_nearest(home: Home) -> None:
    """D9"""
    (line,) = config_errors(home, "do_email: o@x.org\nquiet_hours: {from: '1:00', to: '2:00', zone: Europe/Berlim}\n")

    assert line.endswith("got 'Europe/Berlim'; did you mean `Europe/Berlin`?")


def test_missing_time_zone_database_names_the_package(
    home: Home, no_system_zones: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9"""
    for name in ["tzdata", *(name for name in sys.modules if name.startswith("tzdata."))]:
        monkeypatch.setitem(sys.modules, name, None)
    text = "do_email: o@x.org\nquiet_hours: {from: '1:00', to: '2:00', zone: Europe/Berlin}\n"
    with pytest.raises(ConfigError) as caught:
        load(write_config(home, text))

    assert "this machine has no timezone database; run `pip install tzdata`" in str(caught.value)
