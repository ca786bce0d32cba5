"""Runs commands in this process: no interpreter has to be started for each."""

from __future__ import annotations

import sys

import pytest

from syftnotify.cli.app import main
from syftnotify.system.paths import Home


def run_command(home: Home, *words: str) -> int:
    """Run `notify` with `words` in `home`; returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["notify", "--home", str(home.root), *words])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code or 0
    assert isinstance(code, int)
    return code
