"""Reading YAML: names, values and documents that YAML reads unexpectedly."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from syftnotify.config.edit import edit
from syftnotify.core.errors import ConfigError
from syftnotify.services.settings import load
from syftnotify.system.paths import Home
from tests.config_files import config_errors, write_config
from tests.support import Box


def test_byte_order_mark_is_skipped_when_loading_and_editing(home: Home) -> None:
    """D4"""
    home.create()
    home.config.write_bytes(codecs.BOM_UTF8 + b"do_email: o@x.org\n")
    assert load(home).config.do_email == "o@x.org"

    edit(home, {("notify", "interval"): 20})
    assert load(home).config.notify.interval == 20


def test_duplicate_key_is_an_error(home: Home) -> None:
    assert config_errors(home, "do_email: o@x.org\nroutes:\n- to: [owner]\n  to: [submitter]\n") == [
        "routes[0].to: duplicate key (again in line 4); merge both"
    ]
    assert config_errors(home, "do_email: o@x.org\nnotify: {interval: 5}\nnotify: {interval: 6}\n") == [
        "notify: duplicate key (again in line 3); merge both"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_name_that_yaml_does_not_read_as_text_is_an_error(home: Home, text: str, expected: str) -> None:
    assert config_errors(home, f"do_email: o@x.org\n{text}\n") == [f"{expected} as text; put it in quotes"]


def test_value_that_yaml_does_not_read_as_text_is_an_error(home: Home) -> None:
    text = "do_email: o@x.org\ntransports: {'on': {type: maildir}}\nroutes: [{via: on}]\n"

    assert config_errors(home, text) == [
        "routes[0].via: YAML does not read `on`, `yes` or `true` as text; put it in quotes"
    ]
    assert list(load(write_config(home, text.replace("via: on", "via: 'on'"))).config.transports) == ["on"]


def test_paths_into_lists_have_one_spelling(home: Home) -> None:
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
    assert [line.partition(": ")[0] for line in config_errors(home, text)] == [
        "transports.box.tokn",
        "routes[1]",
        "routes[2].match.not.severity",
        "routes+[0].to",
        "recipients.allow[1]",
        "reminders.job_waiting[1]",
        "operator[0]",
    ]
    assert config_errors(home, "do_email: o@x.org\nroutes: [{via: nowhere}]\n") == [
        "routes[0].via: there is no transport 'nowhere'"
    ]


def test_equal_names_that_are_not_text_are_all_listed(home: Home) -> None:
    """D7: 1 and yes are the same key for Python."""
    found = config_errors(home, "do_email: o@x.org\ntransports: {1: {type: maildir}, yes: {type: maildir}, 2: {}}\n")

    named = [line for line in found if "as text; put it in quotes" in line]
    assert [line.partition("`")[2].partition("`")[0] for line in named] == ["yes", "1", "2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("do_email: o@x.org\n---\na: 1\n", "line 2, column 1: a second YAML document begins here"),
        ("do_email: o@x.org\nlinks: {job: '\0'}\n", "line 2: the character U+0000 is not allowed in YAML"),
    ],
)
def test_second_document_or_bad_character_has_its_place(home: Home, text: str, expected: str) -> None:
    """D9"""
    with pytest.raises(ConfigError) as caught:
        load(write_config(home, text))

    assert expected in str(caught.value)
    assert "\\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["notify:\n\tinterval: 5\n", "notify:\n  interval: 5\n\twatch: auto\n", "routes:\n\t- {}\n"]
)
def test_tabs_are_reported_with_their_line(home: Home, text: str) -> None:
    """D9"""
    line = text[: text.index("\t")].count("\n") + 2
    for call in (load, lambda home: edit(home, {("do_email",): "o@x.org"})):
        with pytest.raises(ConfigError, match=f"line {line}.*YAML does not allow tabs for indentation"):
            call(write_config(home, f"do_email: o@x.org\n{text}"))


@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "a folder"), (os.mkfifo, "not a regular file")])
def test_config_that_is_not_a_file_is_refused(box: Box, make: Callable[[Path], None], kind: str) -> None:
    """D9: by every command, and without waiting for a pipe."""
    box.home.config.unlink()
    make(box.home.config)

    for words in (("run", "--once"), ("init", "--interval", "5")):
        done = box.notify(*words, check=2)
        assert f"config.yaml is {kind}" in " ".join(done.stderr.split())
        assert "move it away" in done.stderr
