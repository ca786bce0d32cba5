"""The configuration: all mistakes at once, each by its path."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from syftnotify.config.edit import edit
from syftnotify.config.routing import Matching
from syftnotify.config.schema import Config
from syftnotify.config.values import parse_duration
from syftnotify.core.errors import ConfigError, NotifyError
from syftnotify.core.kinds import EventKind
from syftnotify.services.settings import load, parse
from syftnotify.services.setup.mail import MAIL_TYPES
from syftnotify.system.paths import Home
from syftnotify.transports.registry import TRANSPORT_TYPES
from tests.support import Box

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path / "home")


def written(home: Home, text: str) -> Home:
    home.create()
    home.config.write_text(text, encoding="utf-8")
    return home


def mistakes(home: Home, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(home, text))
    assert caught.value.exit_code == 2
    head, *lines = str(caught.value).splitlines()
    assert head == f"config.yaml: {len(lines)} error{'' if len(lines) == 1 else 's'}"
    return [line.strip() for line in lines]


def test_the_seeds_six_lines_are_complete(home: Home, tmp_path: Path) -> None:
    """S15"""
    text = "do_email: o@x.org\nsyftbox_root: ~/SyftBox\nnotify: {interval: 30, monitor_jobs: true}\n"
    found = load(written(home, text))

    assert found.root == tmp_path / "SyftBox"
    assert found.default_mail_transport == "gmail"
    assert found.config.transports["gmail"].model_dump()["token"] == home.token


HOOKS: list[tuple[str, str]] = [
    ("url: 'http://hooks.example/x', headers: {Authorization: Bearer t0p}", "the header Authorization"),
    ("url: 'http://hooks.example/x', headers: {X-Api-Key: t0p}", "the header X-Api-Key"),
    ("url: 'http://hooks.example/x', headers: {cookie: t0p}", "the header cookie"),
    ("url: 'http://hooks.example/x', secret: t0p", "`secret`"),
    ("url: 'http://me:t0p@10.0.0.7/x'", "the sign-in in the address"),
    ("url: 'http://hooks.example/x?access_token=t0p'", "the parameter access_token of the address"),
]


@pytest.mark.parametrize(("hook", "what"), HOOKS)
def test_secrets_over_plain_http_are_warned_of_off_this_machine(home: Home, hook: str, what: str) -> None:
    """C10: without what they are."""
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, oncall: {type: webhook, %s}}\n"
    (warning,) = [line for line in load(written(home, text % hook)).warnings if "http://" in line]

    assert warning.startswith(f"config.yaml: transports.oncall: {what} ")
    assert "t0p" not in warning
    for safe in (hook.replace("http:", "https:"), re.sub(r"hooks.example|10.0.0.7", "127.0.0.1", hook)):
        assert not [line for line in load(written(home, text % safe)).warnings if "http://" in line]


def test_plain_http_without_a_secret_is_not_warned_of(home: Home) -> None:
    """C10"""
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, oncall: {type: webhook, url: 'http://h.example/x'}}\n"

    assert not [line for line in load(written(home, text)).warnings if "http://" in line]


def test_a_byte_order_mark_is_skipped_when_loading_and_when_editing(home: Home) -> None:
    """D4"""
    home.create()
    home.config.write_bytes(codecs.BOM_UTF8 + b"do_email: o@x.org\n")
    assert load(home).config.do_email == "o@x.org"

    edit(home, {("notify", "interval"): 20})
    assert load(home).config.notify.interval == 20


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_refused_with_what_to_do(home: Home, encoding: str) -> None:
    """D4"""
    home.create()
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    home.config.write_bytes(mark + "do_email: ö@x.org\n".encode(encoding))

    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load(home)
    with pytest.raises(ConfigError):
        edit(home, {("notify", "interval"): 20})


def test_defaults_are_the_documented_ones(home: Home) -> None:
    notify = load(written(home, "do_email: o@x.org\n")).config.notify

    assert (notify.interval, notify.monitor_jobs, notify.monitor_peers, notify.enabled) == (30, True, True, True)
    assert (notify.watch, notify.max_concurrent_deliveries) == ("auto", 16)


def test_the_root_is_found_where_clients_put_it(home: Home, tmp_path: Path) -> None:
    """D6: where none exists, where the published clients create it."""
    written(home, "do_email: o@x.org\n")
    assert load(home).root == tmp_path / "SyftBox_o@x.org"
    (tmp_path / "SyftBox").mkdir()

    assert load(home).root == tmp_path / "SyftBox"
    (tmp_path / "SyftBox_o@x.org").mkdir()
    assert load(home).root == tmp_path / "SyftBox_o@x.org"


def test_all_mistakes_are_told_at_once_each_by_its_path(home: Home) -> None:
    text = """\
do_email: owner
notify: {interval: soon, wacth: on, monitor_jobs: 1}
routes: [{evnts: [job_failed]}]
transports: {mail: {type: gmail, tokn: x}, box: {type: mailbox}, bare: {}, none: 3}
links: {job: "https://x.example/{jbo}"}
recipients: {allow: everybody}
interval: 30
"""
    assert mistakes(home, text) == [
        "do_email: expected a mail address, got 'owner'",
        "notify.interval: expected a number from 1 to 86400 (seconds), got 'soon'",
        "notify.monitor_jobs: expected true or false, got 1",
        "notify.wacth: unknown key; did you mean `watch`?",
        "transports.mail.tokn: unknown key; did you mean `token`?",
        "transports.box.type: expected gmail, smtp, maildir, slack, discord or webhook, got 'mailbox'; "
        "did you mean `gmail`?",
        "transports.bare.type: missing; expected gmail, smtp, maildir, slack, discord or webhook",
        "transports.none: expected keys with values, got int",
        "routes[0].evnts: unknown key; did you mean `events`?",
        "recipients.allow: expected a list, got 'everybody'",
        "links.job: unknown or malformed placeholder; known ones: {job}, {owner}, {submitter}, {peer}, {entity}",
        "interval: unknown key; known keys: digest, do_email, extra_routes, heartbeat, links, notify, operators, "
        "quiet_hours, recipients, reminders, retention, role, routes, secrets, syftbox_root, transports",
    ]


@pytest.mark.parametrize("value", ["0", "-1", "86401", "true", "'30'", "[]", ".nan", ".inf"])
def test_an_interval_out_of_range_is_refused(home: Home, value: str) -> None:
    (line,) = mistakes(home, f"do_email: o@x.org\nnotify: {{interval: {value}}}\n")

    assert line.startswith("notify.interval: expected a number from 1 to 86400 (seconds), got ")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("to: b@x.org", "`to` needs"),
        ("filter_users: b*", "`filter_users` needs"),
        ("filter_users: b*, to: b@x.org", "`filter_users` and `to` need"),
    ],
)
def test_whom_without_which_events_is_a_mistake(home: Home, settings: str, names: str) -> None:
    """G05, G07: it would be read and never be obeyed."""
    text = f"do_email: o@x.org\ntransports: {{box: {{type: maildir, {settings}}}}}\n"

    assert mistakes(home, text) == [f"transports.box: {names} `events` as well (['*'] for all)"]


def test_nobody_waits_for_a_digest_for_more_than_seven_days(home: Home) -> None:
    """X06: the outbox would take so far a moment for that of a clock that jumped, and send at once."""
    text = "do_email: o@x.org\ndigest: {every: %s}\n"
    for value in ("8d", "700000s", "2w"):
        (line,) = mistakes(home, text % value)
        assert line.startswith("digest.every: expected at most 7d, got ")
    for value in ("7d", "1w", "604800s"):
        digest = load(written(home, text % value)).config.digest
        assert digest is not None
        assert digest.interval == 7 * 86400


@pytest.mark.parametrize(
    ("spelling", "watch"),
    [("auto", "auto"), ("on", "on"), ("off", "off"), ("true", "on"), ("false", "off"), ("yes", "on")],
)
def test_watch_takes_yaml_booleans_too(home: Home, spelling: str, watch: str) -> None:
    """G01"""
    assert load(written(home, f"do_email: o@x.org\nnotify: {{watch: {spelling}}}\n")).config.notify.watch == watch


@pytest.mark.parametrize(
    ("url", "holds"),
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
def test_http_only_on_this_machine(home: Home, url: str, holds: bool) -> None:
    text = f"do_email: o@x.org\ntransports: {{m: {{type: gmail, api_endpoint: '{url}'}}}}\n"
    if holds:
        assert load(written(home, text)).config.transports["m"].model_dump()["api_endpoint"] == url
    else:
        assert mistakes(home, text) == ["transports.m.api_endpoint: expected an https URL (http only for this machine)"]


@pytest.mark.parametrize(
    "url", ["https://x.example:0/y", "https://x.example:99999/y", "https://:1/y", "https://[::1/y"]
)
def test_an_address_that_leads_nowhere_is_refused(home: Home, url: str) -> None:
    assert mistakes(home, f"do_email: o@x.org\nheartbeat: {{ping_url: '{url}'}}\n") == [
        "heartbeat.ping_url: expected an https URL (http only for this machine)"
    ]
    (line,) = mistakes(home, f"do_email: o@x.org\ntransports: {{m: {{type: webhook, url: '{url}'}}}}\nroutes: []\n")
    assert line == "transports.m.url: expected a URL such as 'https://hooks.example/x'"


def test_a_refused_address_of_a_monitor_is_not_repeated(home: Home) -> None:
    (line,) = mistakes(home, "do_email: o@x.org\nheartbeat: {ping_url: 'http://x.example/secret'}\n")

    assert "secret" not in line


def test_a_key_that_stands_twice_is_a_mistake(home: Home) -> None:
    assert mistakes(home, "do_email: o@x.org\nroutes:\n- to: [owner]\n  to: [submitter]\n") == [
        "routes[0].to: duplicate key (again in line 4)"
    ]
    assert mistakes(home, "do_email: o@x.org\nnotify: {interval: 5}\nnotify: {interval: 6}\n") == [
        "notify: duplicate key (again in line 3)"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("transports: {on: {type: maildir}}", "transports: YAML does not read the name `on`, `yes` or `true`"),
        ("transports: {no: {type: maildir}}", "transports: YAML does not read the name `off`, `no` or `false`"),
        ("transports: {7: {type: maildir}}", "transports: YAML does not read the name `7`"),
        ("transports: {2026-01-15: {type: maildir}}", "transports: YAML does not read the name `2026-01-15`"),
        (
            "transports: {box: {type: maildir, on: 1}}",
            "transports.box: YAML does not read the name `on`, `yes` or `true`",
        ),
        ("secrets: {null: gAAAAABn}", "secrets: YAML does not read the name `null`"),
        ("notify: {off: 1}", "notify: YAML does not read the name `off`, `no` or `false`"),
        ("on: 1", "YAML does not read the name `on`, `yes` or `true`"),
    ],
)
def test_a_name_that_yaml_takes_for_no_text_is_told_with_what_to_do(home: Home, text: str, told: str) -> None:
    assert mistakes(home, f"do_email: o@x.org\n{text}\n") == [f"{told} as text; put it in quotes"]


def test_a_value_that_yaml_takes_for_no_text_is_told_with_what_to_do(home: Home) -> None:
    text = "do_email: o@x.org\ntransports: {'on': {type: maildir}}\nroutes: [{via: on}]\n"

    assert mistakes(home, text) == ["routes[0].via: YAML does not read `on`, `yes` or `true` as text; put it in quotes"]
    assert list(load(written(home, text.replace("via: on", "via: 'on'"))).config.transports) == ["on"]


def test_places_in_lists_are_spelled_alike_whoever_finds_the_mistake(home: Home) -> None:
    """S15"""
    text = """\
do_email: o@x.org
transports: {box: {type: maildir, tokn: x}}
routes: [{via: box}, 3, {match: {not: {severity: x}}}]
routes+: [{to: 3}]
recipients: {allow: ['*', 3]}
reminders: {job_waiting: [2h, soon]}
operator: [a]
"""
    assert [line.partition(": ")[0] for line in mistakes(home, text)] == [
        "transports.box.tokn",
        "routes[1]",
        "routes[2].match.not.severity",
        "routes+[0].to",
        "recipients.allow[1]",
        "reminders.job_waiting[1]",
        "operator[0]",
    ]
    assert mistakes(home, "do_email: o@x.org\nroutes: [{via: nowhere}]\n") == [
        "routes[0].via: there is no transport 'nowhere'"
    ]


@pytest.mark.parametrize("text", ["- a\n", "just text", "a: [", "\t", "a: &x [*x]\n", "{a: b", "%", "\x00"])
def test_what_is_no_configuration_says_so(home: Home, text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load(written(home, text))


def test_a_missing_file_names_the_command(home: Home) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home)

    assert "notify init" in caught.value.hint


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_no_text_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.config.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(NotifyError):
        load(home)


def test_mail_goes_out_by_the_first_gmail_then_maildir(home: Home) -> None:
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, a: {type: gmail}, b: {type: gmail}}\n"

    assert load(written(home, text)).default_mail_transport == "a"


def test_paths_of_transports_lie_below_the_home(home: Home, tmp_path: Path) -> None:
    text = "do_email: o@x.org\ntransports: {box: {type: maildir, path: my/mail}, t: {type: maildir, path: ~/mail}}\n"
    transports = load(written(home, text)).config.transports

    assert transports["box"].model_dump()["path"] == home.root / "my" / "mail"
    assert transports["t"].model_dump()["path"] == tmp_path / "mail"


_SPELLINGS = [
    ("routes: [{to: owner, %s: mail}]", "routes[0]", "transport", "via"),
    ("%s: [{to: owner}]", "", "extra_routes", "routes+"),
    ("%s: a@x.org", "", "operators", "operator"),
    ("digest: {%s: 7}", "digest", "threshold", "above"),
    ("digest: {%s: 7s}", "digest", "window", "within"),
    ("digest: {%s: 7m}", "digest", "interval", "every"),
    ("quiet_hours: {from: '1:00', to: '2:00', %s: Europe/Berlin}", "quiet_hours", "timezone", "zone"),
]


@pytest.mark.parametrize(("text", "section", "name", "former"), _SPELLINGS)
def test_former_spelling_of_a_key_is_accepted(home: Home, text: str, section: str, name: str, former: str) -> None:
    base = "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n"
    loaded = [load(written(home, base + text % spelling)).config for spelling in (name, former)]

    assert loaded[0] == loaded[1]
    assert loaded[0] != load(written(home, base)).config


@pytest.mark.parametrize(("text", "section", "name", "former"), _SPELLINGS)
def test_both_spellings_of_a_key_are_a_mistake(home: Home, text: str, section: str, name: str, former: str) -> None:
    before, _, after = text.partition("%s: ")
    value = after if not section else after.rpartition("}")[0]
    both = f"{before}%s: {value}{chr(10) if not section else ', '}%s: {after}"
    (line,) = mistakes(home, "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n" + both % (name, former))

    path = f"{section}.{former}".removeprefix(".")
    assert line == f"{path}: not allowed together with `{name}`, which is the same setting; remove one of them"


@pytest.mark.parametrize(("text", "section", "name", "former"), _SPELLINGS)
def test_mistake_names_the_spelling_in_the_file(home: Home, text: str, section: str, name: str, former: str) -> None:
    before, _, after = text.partition("%s: ")
    wrong = f"{before}%s: {{}}{after[after.rindex('}') :] if section else ''}"
    for spelling in (name, former):
        lines = mistakes(home, "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n" + wrong % spelling)
        assert any(line.startswith(f"{section}.{spelling}: ".removeprefix(".")) for line in lines)


def test_one_operator_or_several(home: Home) -> None:
    assert load(written(home, "do_email: o@x.org\noperator: a@x.org\n")).config.operators == ("a@x.org",)
    assert load(written(home, "do_email: o@x.org\noperators: [a@x.org, b@x.org]\n")).config.operators == (
        "a@x.org",
        "b@x.org",
    )


def _names(kind: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in kind.model_fields.items()}


def _keys(model: type[BaseModel], above: str = "") -> set[str]:
    """Every key; `routes[]` is a list of sections, and `extra_routes` and `not` are like what they stand beside."""
    found = set()
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        inner = next((each for each in _classes(field.annotation) if issubclass(each, BaseModel)), None)
        if name == "transports":
            found |= {f"transports.<name>.{key}" for kind in TRANSPORT_TYPES.values() for key in _names(kind)}
            found |= {f"transports.<name>.{key}" for key in ("host", "port", "user", "password", "tls")}
        elif inner is None or name in {"extra_routes", "not"}:
            found.add(above + name)
        else:
            is_list = tuple in {get_origin(each) for each in (field.annotation, *get_args(field.annotation))}
            found |= _keys(inner, f"{above}{name}{'[]' if is_list else ''}.")
    return found


def _classes(annotation: Any) -> list[type]:
    """The classes in an annotation, however deep."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [found for each in get_args(annotation) for found in _classes(each)]


def _written_keys(value: dict[str, Any], above: str = "") -> set[str]:
    found = set()
    for name, inner in value.items():
        if above == "transports.":
            found |= {f"transports.<name>.{key}" for key in inner}
        elif name == "routes":
            found |= {key for route in inner for key in _written_keys(route, "routes[].")}
        elif isinstance(inner, dict) and name not in {"secrets", "not"}:
            found |= _written_keys(inner, f"{above}{name}.")
        else:
            found.add(above + name)
    return found


def test_the_example_names_every_setting_and_is_good(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_URL", "https://hooks.slack.example/services/x")
    monkeypatch.setenv("DISCORD_URL", "https://discord.example/api/webhooks/1/x")
    monkeypatch.setenv("HOOK_SECRET", "whsec_c2VjcmV0")
    home.create()
    (home.root / "mail-password").write_text("a password")
    load(written(home, EXAMPLE.read_text(encoding="utf-8")))

    assert _written_keys(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) == _keys(Config)


def test_the_documentation_names_every_setting_and_no_other() -> None:
    page = (EXAMPLE.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {key.strip(" `") for row in rows for key in row.split(",")}

    assert named == _keys(Config)


def test_an_edit_changes_only_what_it_names_and_keeps_comments(home: Home) -> None:
    text = "# mine\ndo_email: o@x.org  # me\n\nnotify:\n  # slow\n  interval: 60\n  monitor_jobs: true\nlinks: {job: 'https://x.example/{job}'}\n"
    edit(written(home, text), {("notify", "interval"): 10})

    assert home.config.read_text(encoding="utf-8") == text.replace("interval: 60", "interval: 10")


def test_an_edit_of_what_is_no_yaml_changes_nothing(home: Home) -> None:
    written(home, "a: [")
    with pytest.raises(ConfigError, match="nothing was changed"):
        edit(home, {("do_email",): "o@x.org"})

    assert home.config.read_text(encoding="utf-8") == "a: ["


# -- all mistakes at once --------------------------------------------------------------------------------------------


def test_load_mistakes_of_all_kinds_are_listed_together(home: Home) -> None:
    """D7: whichever part of the program finds them."""
    text = """\
do_email: o@x.org
transports:
  box: {type: maildir, to: owner}
  hook: {type: webhook, url: env:NOT_SET_ANYWHERE, format: template, body: '{{ nothing }}'}
  half: {type: webhook, url: 'https://x.example', format: template}
  relay: {type: smtp, host: a/b, port: 0, tls: maybe}
routes: [{via: nowhere}]
routes+:
- {events: [job_faild, job_timout]}
- {via: nowhere, to: '#jobs'}
- {to: ['#jobs']}
links: {job: 'https://x.example/{jbo}'}
digest: {above: 0, every: 9d}
reminders: {to: '#jobs'}
quiet_hours: {from: 25:00, to: '07:00'}
"""
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), home)

    found = [line.strip().partition(": ")[0] for line in str(caught.value).splitlines()[1:]]
    assert sorted(found) == sorted(
        [
            "transports.hook.url",
            "transports.hook.body",
            "transports.half",
            "transports.box",
            "transports.relay",
            "routes[0].via",
            "routes+[0].events",
            "routes+[1].via",
            "routes+[2].to",
            "links.job",
            "digest.above",
            "digest.every",
            "reminders.to",
            "quiet_hours.from",
        ]
    )
    for word in ("job_faild", "job_timout", "`host`", "`port`", "`tls`"):
        assert word in str(caught.value)


@pytest.mark.parametrize("command", [("start",), ("doctor",), ("run", "--dry-run"), ("test",), ("prune",)])
def test_command_with_a_mistake_lists_those_of_templates_too(box: Box, command: tuple[str, ...]) -> None:
    """D7"""
    hook = {"type": "webhook", "url": "https://x.example", "format": "template", "body": "{{ nope }}"}
    box.configure({"transports": {"box": {"type": "maildir"}, "w": hook}, "routes+": [{"via": "nosuch"}]})

    done = box.notify(*command)

    assert "config.yaml: 2 errors" in done.stdout + done.stderr
    assert "transports.w.body: 'nope' is undefined" in done.stdout + done.stderr


def test_load_unknown_events_beside_a_star_are_listed(home: Home) -> None:
    """D7"""
    (line,) = mistakes(home, "do_email: o@x.org\nroutes: [{events: ['*', bogus, job_faild]}]\n")

    assert line.startswith("routes[0].events: ")
    assert "'bogus'" in line
    assert "'job_faild'" in line


def test_load_names_that_are_not_text_and_equal_are_both_listed(home: Home) -> None:
    """D7: 1 and yes are the same key for Python."""
    found = mistakes(home, "do_email: o@x.org\ntransports: {1: {type: maildir}, yes: {type: maildir}, 2: {}}\n")

    named = [line for line in found if "as text; put it in quotes" in line]
    assert [line.partition("`")[2].partition("`")[0] for line in named] == ["yes", "1", "2"]


def test_value_of_a_fixed_set_lists_the_allowed_ones(home: Home) -> None:
    """D9"""
    assert mistakes(home, "do_email: o@x.org\nnotify: {on_unknown: drop}\nroutes: [{via: [m]}]\n") == [
        "notify.on_unknown: expected resend or hold, got 'drop'",
        "routes[0].via: expected text, got a list",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("do_email: o@x.org\n---\na: 1\n", "line 2, column 1: a second YAML document begins here"),
        ("do_email: o@x.org\nlinks: {job: '\0'}\n", "line 2: the character U+0000 is not allowed in YAML"),
    ],
)
def test_file_that_is_not_one_document_says_where(home: Home, text: str, said: str) -> None:
    """D9"""
    with pytest.raises(ConfigError) as caught:
        load(written(home, text))

    assert said in str(caught.value)
    assert "\\n" not in str(caught.value)


def test_load_unknown_transport_type_hides_no_other_route(home: Home) -> None:
    """D7: recipients are checked as far as the transports are known."""
    text = (
        "do_email: o@x.org\ntransports: {a: {type: mial}, b: {type: slack, url: 'https://x.example'}}\nroutes: [%s]\n"
    )
    for route, path in (
        ("{via: a, to: '#x'}", ""),
        ("{via: b, to: o@x.org}", "routes[0].to"),
        ("{via: c}", "routes[0].via"),
    ):
        found = [line.partition(": ")[0] for line in mistakes(home, text % route)]
        assert found == ["transports.a.type", *filter(None, [path])]


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["[a-", "a[", "[]", "[!]", "x[[]["])
@pytest.mark.parametrize(
    "place",
    ["routes: [{match: {job: '%s'}}]", "routes: [{match: {not: {tags: ['%s']}}}]", "recipients: {allow: ['%s']}"],
)
def test_pattern_with_an_unclosed_bracket_is_refused(home: Home, place: str, pattern: str) -> None:
    """D8"""
    (line,) = mistakes(home, f"do_email: o@x.org\n{place % pattern}\n")

    assert "unclosed bracket" in line


def test_pattern_that_matches_no_character_is_refused(home: Home) -> None:
    """D8"""
    (line,) = mistakes(home, "do_email: o@x.org\nroutes: [{match: {job: 'x[z-a]'}}]\n")

    assert "no character matches" in line


@pytest.mark.parametrize("pattern", ["[a-z]*", "[[]x", "[]]", "[!]]", "a]b", "run[0-9]", "*"])
def test_pattern_with_closed_brackets_is_accepted(home: Home, pattern: str) -> None:
    """D8"""
    route = load(written(home, f"do_email: o@x.org\nroutes: [{{match: {{job: '{pattern}'}}}}]\n")).config.routes

    assert route is not None
    assert route[0].match.job == (pattern,)


@pytest.mark.parametrize("place", ["to: []", "match: {job: []}", "events: []"])
def test_route_with_an_empty_list_is_refused(home: Home, place: str) -> None:
    """D8: an empty `to` would otherwise be the default recipient."""
    (line,) = mistakes(home, f"do_email: o@x.org\nroutes: [{{{place}}}]\n")

    assert "got []" in line


@pytest.mark.parametrize(
    ("more", "is_warned"),
    [
        ("", True),
        ("routes+: [{to: owner}]\n", False),
        ("transports: {box: {type: maildir, events: job_failed}}\n", False),
        ("transports: {box: {type: maildir}}\n", True),
    ],
)
def test_empty_routes_are_warned_about_when_nobody_is_notified(home: Home, more: str, is_warned: bool) -> None:
    """D8"""
    warnings = load(written(home, f"do_email: o@x.org\nroutes: []\n{more}")).warnings

    assert any("routes: the list is empty" in warning for warning in warnings) is is_warned


@pytest.mark.parametrize("path", ["notify.interval", "transports.m.timeout_secs"])
@pytest.mark.parametrize(("written_as", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("0.5 m", 30), ("1H", 3600)])
def test_seconds_take_a_number_or_a_duration(home: Home, path: str, written_as: str, seconds: float) -> None:
    """D8: seed 002 has `interval: 30`."""
    section = f"{{type: gmail, timeout_secs: {written_as}}}" if "timeout" in path else "{type: gmail}"
    interval = written_as if "interval" in path else "30"
    config = load(
        written(home, f"do_email: o@x.org\nnotify: {{interval: {interval}}}\ntransports: {{m: {section}}}\n")
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


@pytest.mark.parametrize("place", DURATIONS)
@pytest.mark.parametrize("value", ["24", "24.0", "'24'", "true", "-1h", "h", "1x", "1h30m"])
def test_duration_without_a_unit_is_refused(home: Home, place: str, value: str) -> None:
    """D8: 24 would be 24 seconds."""
    (line,) = mistakes(home, f"do_email: o@x.org\n{place % value}\n")

    assert "expected a duration with a unit such as 90s, 10m, 2h, 3d or 26w, got " in line


@pytest.mark.parametrize("place", DURATIONS)
@pytest.mark.parametrize("value", ["0s", "0d", "9999999w", "36500d"])
def test_duration_out_of_range_is_refused_with_the_range(home: Home, place: str, value: str) -> None:
    """D8"""
    (line,) = mistakes(home, f"do_email: o@x.org\n{place % value}\n")

    least = "more than 0s and " if value.startswith("0") else ""
    assert f"expected {least}at most {'7' if 'every' in place else '7320'}d, got '{value}'" in line


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("uni.example", "has no @, so it matches no address; write a whole address, or a pattern such as '*@uni."),
        ("@uni.example", "has nothing before the @"),
        ("ana@", "has nothing after the @"),
        ("#jobs", "has no @"),
        ("ana@uni.example, bo@uni.example", "expected one address or pattern without blanks per entry"),
        (" *@uni.example", "without blanks"),
    ],
)
def test_allowed_recipient_that_matches_no_address_is_refused(home: Home, entry: str, why: str) -> None:
    """D8"""
    (line,) = mistakes(home, f"do_email: o@x.org\nrecipients: {{allow: ['{entry}']}}\n")

    assert line.startswith("recipients.allow[0]: ")
    assert why in line


@pytest.mark.parametrize("entry", ["*", "ana@uni.example", "*@uni.example", "a?a@[u]ni.example", "*.example"])
def test_allowed_recipient_that_matches_addresses_is_accepted(home: Home, entry: str) -> None:
    """D8"""
    load(written(home, f"do_email: o@x.org\nrecipients: {{allow: ['{entry}']}}\n"))


@pytest.mark.parametrize("entry", ["#jobs", "@ana", "oncall"])
def test_allowed_recipient_of_a_transport_without_addresses_is_accepted(home: Home, entry: str) -> None:
    """D8"""
    ways = "{m: {type: maildir}, s: {type: slack, url: 'https://x.example'}, oncall: {type: webhook, url: 'https://x'}}"
    load(written(home, f"do_email: o@x.org\ntransports: {ways}\nrecipients: {{allow: ['{entry}']}}\n"))


def test_quiet_hours_without_an_end_are_refused(home: Home) -> None:
    """D8"""
    (line,) = mistakes(home, "do_email: o@x.org\nquiet_hours: {from: 22:00, to: '22:00'}\n")

    assert line.startswith("quiet_hours: `from` and `to` are both 22:00, so every hour is quiet; set different times")
    load(written(home, "do_email: o@x.org\nquiet_hours: {from: '00:00', to: '00:00', days: [sat, sun]}\n"))


@pytest.mark.parametrize("name", ["", "on call", "#jobs", "@ana", "a@b.example", "a\tb"])
def test_transport_name_that_reads_as_a_recipient_is_refused(home: Home, name: str) -> None:
    """D8"""
    content = {"do_email": "o@x.org", "transports": {name: {"type": "maildir"}}}
    (line,) = mistakes(home, yaml.safe_dump(content))

    assert line.startswith("transports: ")
    assert "cannot be the name of a transport; use one without blanks, # and @" in line


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("notify: {monitor_jobs: false, monitor_peers: false}", "so no job or peer is notified"),
        ("reminders: {to: owner}", "reminders.to: has no effect; set `reminders.job_waiting` or"),
    ],
)
def test_setting_without_an_effect_is_warned_about(home: Home, text: str, warning: str) -> None:
    """D8"""
    assert any(warning in each for each in load(written(home, f"do_email: o@x.org\n{text}\n")).warnings)


@pytest.mark.parametrize("place", DURATIONS)
@pytest.mark.parametrize("value", ["90s", "10m", "2h", "3d", "1w", "'1.5 h'"])
def test_duration_with_a_unit_is_accepted(home: Home, place: str, value: str) -> None:
    """D8"""
    load(written(home, f"do_email: o@x.org\n{place % value}\n"))


@pytest.mark.parametrize(("written_as", "hour"), [("22:00", 22), ("'22:00'", 22), ("8:30", 8), ("0:30", 0)])
def test_time_of_day_needs_no_quotes(home: Home, written_as: str, hour: int) -> None:
    """D9: YAML 1.1 would read 22:00 as a number."""
    text = f"do_email: o@x.org\nquiet_hours: {{from: {written_as}, to: '07:00'}}\nheartbeat: {{daily: {written_as}}}\n"
    config = load(written(home, text)).config

    assert config.quiet_hours is not None
    assert config.heartbeat.daily is not None
    assert config.quiet_hours.begin.hour == config.heartbeat.daily.hour == hour


@pytest.mark.parametrize(
    ("written_as", "got"),
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
def test_time_of_day_mistakes_are_shown_as_they_are_written(home: Home, written_as: str, got: str) -> None:
    """D9"""
    text = f"do_email: o@x.org\nquiet_hours: {{from: {written_as}, to: '07:00'}}\n"

    assert mistakes(home, text) == [f"quiet_hours.from: expected a time of day such as '22:00', got {got}"]


def test_time_zone_mistake_names_the_nearest_zone(home: Home) -> None:
    """D9"""
    (line,) = mistakes(home, "do_email: o@x.org\nquiet_hours: {from: '1:00', to: '2:00', zone: Europe/Berlim}\n")

    assert line.endswith("got 'Europe/Berlim'; did you mean `Europe/Berlin`?")


def test_time_zones_need_no_database_of_the_system(box: Box) -> None:
    """D9: `tzdata` is a dependency."""
    box.configure({"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}})
    box.env["PYTHONTZPATH"] = "/nonexistent"

    box.notify("run", "--dry-run", check=0)


def test_missing_time_zone_database_is_said(home: Home) -> None:
    """D9"""
    text = "do_email: o@x.org\nquiet_hours: {from: '1:00', to: '2:00', zone: Europe/Berlin}\n"
    program = (
        "import sys; sys.modules['tzdata'] = None\n"
        "import zoneinfo; zoneinfo.reset_tzpath(to=[])\n"
        "from syftnotify.services.settings import load; from syftnotify.system.paths import Home\n"
        "load(Home.at(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(written(home, text).root)], capture_output=True, text=True, check=False
    )

    assert "this machine has no time zone database; run `pip install tzdata`" in done.stderr


@pytest.mark.parametrize(
    "text", ["notify:\n\tinterval: 5\n", "notify:\n  interval: 5\n\twatch: auto\n", "routes:\n\t- {}\n"]
)
def test_tabs_are_named_with_their_line(home: Home, text: str) -> None:
    """D9"""
    line = text[: text.index("\t")].count("\n") + 2
    for act in (load, lambda home: edit(home, {("do_email",): "o@x.org"})):
        with pytest.raises(ConfigError, match=f"line {line}.*YAML does not allow tabs for indentation"):
            act(written(home, f"do_email: o@x.org\n{text}"))


@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "a folder"), (os.mkfifo, "not a regular file")])
def test_configuration_that_is_not_a_file_is_refused(box: Box, make: Callable[[Path], None], kind: str) -> None:
    """D9: by every command, and without waiting for a pipe."""
    box.home.config.unlink()
    make(box.home.config)

    for words in (("run", "--once"), ("init", "--interval", "5"), ("start",)):
        done = box.notify(*words, check=2)
        assert f"config.yaml is {kind}" in " ".join(done.stderr.split())
        assert "move it away" in done.stderr


# -- the documentation -----------------------------------------------------------------------------------------------

# What the documentation calls a default that is no single value in the schema.
_IN_WORDS = {"must be set", "found", "none", "unset", "all", "any", "nothing", "never", "for ever", ""}


def _documented_defaults() -> dict[str, str]:
    page = (EXAMPLE.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    return {key.strip(" `"): default.strip() for keys, default in rows for key in keys.split(",")}


def _defaults(model: type[BaseModel], above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        default = ... if field.is_required() else field.get_default(call_default_factory=True)
        inner = next((each for each in _classes(field.annotation) if issubclass(each, BaseModel)), None)
        if inner is None or key == "extra_routes" or key.endswith(".not") or name == "transports":
            found[key] = default
        else:
            found |= _defaults(inner, f"{key}[]." if key == "routes" else f"{key}.")
    return found


def _says(documented: str, default: Any) -> bool:
    """Whether the cell of a table is right about a default: its code spans are YAML, other words stand for unset."""
    spans = re.findall(r"`([^`]*)`", documented)
    if default is ...:
        return documented == "must be set"
    if default in (None, (), {}, "", frozenset(range(7)), frozenset(EventKind), Matching()):
        return not spans or spans == ["[]"] or documented in _IN_WORDS or "unset" in documented or not _is_value(spans)
    return any(_same(span, default) for span in spans)


def _is_value(spans: list[str]) -> bool:
    """Whether these would be values, and not other settings or paths that stand for the default."""
    return any(re.fullmatch(r"[0-9]+[smhdw]?|true|false", span) for span in spans)


def _same(span: str, default: Any) -> bool:
    if span == str(default):
        return True
    value = yaml.safe_load(span)
    if isinstance(value, str) and isinstance(default, float):
        return parse_duration(value) == default
    if isinstance(default, tuple):
        return tuple(value) == default
    return bool(str(value) == str(default) if isinstance(default, Path) else value == default)


def test_documentation_gives_the_defaults_of_the_schema() -> None:
    """D10"""
    documented = _documented_defaults()
    found = {key: value for key, value in _defaults(Config, "").items() if key != "transports"}
    wrong = {key: (documented[key], value) for key, value in found.items() if not _says(documented[key], value)}
    assert wrong == {}


def _of_type(cell: str, kind: str) -> str:
    """The default for one type of transport in a cell such as "gmail, slack `1`; others none"."""
    known = {*TRANSPORT_TYPES, "mail", "others"}
    named: dict[str, str] = {}
    for entry in cell.split("; "):
        names = re.match(r"(?:\w+, )*\w+", entry)
        if names and set(names.group().split(", ")) <= known:
            named |= dict.fromkeys(names.group().split(", "), entry[names.end() :].strip())
    if not named:
        return cell
    return next(
        (named[each] for each in (kind, "mail" if kind in MAIL_TYPES else "", "others") if each in named), "unset"
    )


@pytest.mark.parametrize("kind", TRANSPORT_TYPES)
def test_documentation_gives_the_defaults_of_each_transport(kind: str) -> None:
    """D10"""
    documented = _documented_defaults()
    found = _defaults(TRANSPORT_TYPES[kind], "transports.<name>.")
    wrong = {
        key: (documented[key], value)
        for key, value in found.items()
        if key != "transports.<name>.type" and not _says(_of_type(documented[key], kind), value)
    }
    assert wrong == {}
