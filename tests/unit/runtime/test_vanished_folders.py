"""Folders that must not disappear while the worker runs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from syftnotify.runtime.vanished_folders import VanishedFolders


def test_vanished_folder_is_reported_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    """B3."""
    folders = VanishedFolders(allows_changes=False)
    one, two = Path("/box/a"), Path("/box/b")
    assert folders.check([one], "", 0.0) == ""
    assert folders.check([one, two], "", 0.0) == ""

    problem = folders.check([one], "", 3600.0)

    assert "the job folder /box/b is gone (since 1970-01-01T01:00:00" in problem
    assert "notify restart" in problem
    assert folders.check([], "no root", 7200.0) == problem
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert folders.check([one, two], "", 7300.0) == ""
    assert folders.check([], "no root", 7400.0).startswith("no root (since ")


def test_folders_of_other_owners_may_disappear_but_not_all() -> None:
    """B3: a scientist's home."""
    folders = VanishedFolders(allows_changes=True)
    one, two = Path("/box/a"), Path("/box/b")
    folders.check([one, two], "", 0.0)

    assert folders.check([one], "", 1.0) == ""
    assert folders.check([], "", 2.0)
