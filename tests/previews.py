"""Helpers for `notify preview`."""

from __future__ import annotations

import re

import pytest

from syftnotify.system.paths import Home
from tests.in_process import run_command
from tests.support import Box

Previews = dict[tuple[str, str], tuple[str, str]]  # kind and audience -> subject and text


def write_template(box: Box, name: str, text: str | bytes) -> None:
    folder = box.home.templates / "emails"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def parse_previews(output: str) -> Previews:
    """The previews in the output of `notify preview`."""
    parts = re.split(r"^(\w+) to the (\w+)\nSubject: (.*)\n\n", output, flags=re.MULTILINE)
    assert parts[0] == "", output
    mails = zip(*(iter(parts[1:]),) * 4, strict=True)
    return {(kind, audience): (subject, text.strip()) for kind, audience, subject, text in mails}


def preview(home: Home, name: str, capsys: pytest.CaptureFixture[str]) -> Previews:
    run_command(home, "preview", name)
    return parse_previews(capsys.readouterr().out)
