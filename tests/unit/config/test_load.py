"""Loading `config.yaml`: defaults, and all errors at once, each with its path."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest

from syftnotify.config.edit import edit
from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load, parse
from syftnotify.system.paths import Home
from tests.config_files import config_errors, write_config


def test_load_minimal_config_is_complete(home: Home, tmp_path: Path) -> None:
    """S15"""
    text = "do_email: o@x.org\nsyftbox_root: ~/SyftBox\nnotify: {interval: 30, monitor_jobs: true}\n"
    found = load(write_config(home, text))

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


@pytest.mark.parametrize(("hook", "exposed"), HOOKS)
def test_secret_over_plain_http_warns_except_on_loopback(home: Home, hook: str, exposed: str) -> None:
    """C10: without the secret itself."""
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, oncall: {type: webhook, %s}}\n"
    (warning,) = [line for line in load(write_config(home, text % hook)).warnings if "http://" in line]

    assert warning.startswith(f"config.yaml: transports.oncall: {exposed} ")
    assert "t0p" not in warning
    for safe in (hook.replace("http:", "https:"), re.sub(r"hooks.example|10.0.0.7", "127.0.0.1", hook)):
        assert not [line for line in load(write_config(home, text % safe)).warnings if "http://" in line]


def test_plain_http_without_a_secret_does_not_warn(home: Home) -> None:
    """C10"""
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, oncall: {type: webhook, url: 'http://h.example/x'}}\n"

    assert not [line for line in load(write_config(home, text)).warnings if "http://" in line]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_load_other_encoding_is_refused(home: Home, encoding: str) -> None:
    """D4"""
    home.create()
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    home.config.write_bytes(mark + "do_email: ö@x.org\n".encode(encoding))

    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load(home)
    with pytest.raises(ConfigError):
        edit(home, {("notify", "interval"): 20})


def test_load_defaults(home: Home) -> None:
    notify = load(write_config(home, "do_email: o@x.org\n")).config.notify

    assert (notify.interval, notify.monitor_jobs, notify.monitor_peers, notify.enabled) == (30, True, True, True)
    assert (notify.watch, notify.max_concurrent_deliveries) == ("auto", 16)


def test_syftbox_root_is_found_where_clients_create_it(home: Home, tmp_path: Path) -> None:
    """D6: if none exists, where the published clients create it."""
    write_config(home, "do_email: o@x.org\n")
    assert load(home).root == tmp_path / "SyftBox_o@x.org"
    (tmp_path / "SyftBox").mkdir()

    assert load(home).root == tmp_path / "SyftBox"
    (tmp_path / "SyftBox_o@x.org").mkdir()
    assert load(home).root == tmp_path / "SyftBox_o@x.org"


def test_load_reports_all_errors_each_with_its_path(home: Home) -> None:
    """S15"""
    text = """\
do_email: owner
notify: {interval: soon, wacth: on, monitor_jobs: 1}
routes: [{evnts: [job_failed]}]
transports: {mail: {type: gmail, tokn: x}, box: {type: mailbox}, bare: {}, none: 3}
links: {job: "https://x.example/{jbo}"}
recipients: {allow: everybody}
interval: 30
"""
    assert config_errors(home, text) == [
        "do_email: expected a mail address, got 'owner'",
        "notify.interval: expected a number from 1 to 86400 (seconds), got 'soon'",
        "notify.monitor_jobs: expected true or false, got 1",
        "notify.wacth: unknown key; did you mean `watch`?",
        "transports.mail.tokn: unknown key; did you mean `token`?",
        "transports.box.type: expected gmail, smtp, maildir, slack, discord, webhook or redis, got 'mailbox'; "
        "did you mean `gmail`?",
        "transports.bare.type: missing; expected gmail, smtp, maildir, slack, discord, webhook or redis",
        "transports.none: expected keys with values, got int",
        "routes[0].evnts: unknown key; did you mean `events`?",
        "recipients.allow: expected a list, got 'everybody'",
        "links.job: unknown or malformed placeholder; known ones: {job}, {owner}, {submitter}, {peer}, {entity}",
        "interval: unknown key; known keys: database, digest, do_email, extra_routes, heartbeat, links, notify, "
        "operators, quiet_hours, recipients, reminders, retention, role, routes, secrets, serve, syftbox_root, "
        "timezones, transports",
    ]


def test_load_reports_errors_of_all_kinds_together(home: Home) -> None:
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


def test_load_unknown_events_beside_a_star_are_listed(home: Home) -> None:
    """D7"""
    (line,) = config_errors(home, "do_email: o@x.org\nroutes: [{events: ['*', bogus, job_faild]}]\n")

    assert line.startswith("routes[0].events: ")
    assert "'bogus'" in line
    assert "'job_faild'" in line


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
        found = [line.partition(": ")[0] for line in config_errors(home, text % route)]
        assert found == ["transports.a.type", *filter(None, [path])]


@pytest.mark.parametrize("text", ["- a\n", "just text", "a: [", "\t", "a: &x [*x]\n", "{a: b", "%", "\x00"])
def test_load_text_that_is_no_config_is_refused(home: Home, text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load(write_config(home, text))


def test_load_missing_file_names_init(home: Home) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home)

    assert "notify init" in caught.value.hint


def test_default_mail_transport_is_the_first_gmail(home: Home) -> None:
    text = "do_email: o@x.org\ntransports: {box: {type: maildir}, a: {type: gmail}, b: {type: gmail}}\n"

    assert load(write_config(home, text)).default_mail_transport == "a"


def test_transport_paths_are_relative_to_the_home(home: Home, tmp_path: Path) -> None:
    text = "do_email: o@x.org\ntransports: {box: {type: maildir, path: my/mail}, t: {type: maildir, path: ~/mail}}\n"
    transports = load(write_config(home, text)).config.transports

    assert transports["box"].model_dump()["path"] == home.root / "my" / "mail"
    assert transports["t"].model_dump()["path"] == tmp_path / "mail"


def test_operators_are_one_address_or_a_list(home: Home) -> None:
    assert load(write_config(home, "do_email: o@x.org\noperator: a@x.org\n")).config.operators == ("a@x.org",)
    assert load(write_config(home, "do_email: o@x.org\noperators: [a@x.org, b@x.org]\n")).config.operators == (
        "a@x.org",
        "b@x.org",
    )


SPELLINGS = [
    ("routes: [{to: owner, %s: mail}]", "routes[0]", "transport", "via"),
    ("%s: [{to: owner}]", "", "extra_routes", "routes+"),
    ("%s: a@x.org", "", "operators", "operator"),
    ("digest: {%s: 7}", "digest", "threshold", "above"),
    ("digest: {%s: 7s}", "digest", "window", "within"),
    ("digest: {%s: 7m}", "digest", "interval", "every"),
    ("quiet_hours: {from: '1:00', to: '2:00', %s: Europe/Berlin}", "quiet_hours", "timezone", "zone"),
]


@pytest.mark.parametrize(("text", "section", "name", "former"), SPELLINGS)
def test_former_spelling_of_a_key_is_accepted(home: Home, text: str, section: str, name: str, former: str) -> None:
    base = "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n"
    loaded = [load(write_config(home, base + text % spelling)).config for spelling in (name, former)]

    assert loaded[0] == loaded[1]
    assert loaded[0] != load(write_config(home, base)).config


@pytest.mark.parametrize(("text", "section", "name", "former"), SPELLINGS)
def test_both_spellings_of_a_key_are_an_error(home: Home, text: str, section: str, name: str, former: str) -> None:
    before, _, after = text.partition("%s: ")
    value = after if not section else after.rpartition("}")[0]
    both = f"{before}%s: {value}{chr(10) if not section else ', '}%s: {after}"
    (line,) = config_errors(home, "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n" + both % (name, former))

    path = f"{section}.{former}".removeprefix(".")
    assert line == f"{path}: not allowed together with `{name}`, which is the same setting; remove one of them"


@pytest.mark.parametrize(("text", "section", "name", "former"), SPELLINGS)
def test_error_names_the_spelling_in_the_file(home: Home, text: str, section: str, name: str, former: str) -> None:
    before, _, after = text.partition("%s: ")
    wrong = f"{before}%s: {{}}{after[after.rindex('}') :] if section else ''}"
    for spelling in (name, former):
        lines = config_errors(home, "do_email: o@x.org\ntransports: {mail: {type: maildir}}\n" + wrong % spelling)
        assert any(line.startswith(f"{section}.{spelling}: ".removeprefix(".")) for line in lines)


def test_time_zones_need_no_system_database(home: Home, no_system_zones: None) -> None:
    """D9: `tzdata` is a dependency."""
    text = "do_email: o@x.org\nquiet_hours: {from: '22:00', to: '07:00', zone: Europe/Berlin}\n"

    assert load(write_config(home, text)).config.quiet_hours is not None


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("notify: {monitor_jobs: false, monitor_peers: false}", "so no job or peer is notified"),
        ("reminders: {to: owner}", "reminders.to: has no effect; set `reminders.job_waiting` or"),
    ],
)
def test_setting_without_effect_warns(home: Home, text: str, warning: str) -> None:
    """D8"""
    assert any(warning in each for each in load(write_config(home, f"do_email: o@x.org\n{text}\n")).warnings)


@pytest.mark.parametrize(
    ("lines", "is_warned"),
    [
        ("", True),
        ("routes+: [{to: owner}]\n", False),
        ("transports: {box: {type: maildir, events: job_failed}}\n", False),
        ("transports: {box: {type: maildir}}\n", True),
    ],
)
def test_empty_routes_warn_when_nobody_is_notified(home: Home, lines: str, is_warned: bool) -> None:
    """D8"""
    warnings = load(write_config(home, f"do_email: o@x.org\nroutes: []\n{lines}")).warnings

    assert any("routes: the list is empty" in warning for warning in warnings) is is_warned


def test_load_misspelled_required_key_is_unknown_and_missing(home: Home) -> None:
    """S15"""
    text = "\n".join(config_errors(home, "do_emial: a@b.example\n"))

    assert "do_emial: unknown key; did you mean `do_email`?" in text
    assert "do_email: missing" in text
