"""Editing `config.yaml` in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from syftnotify.config.edit import edit
from syftnotify.core.errors import ConfigError
from syftnotify.system.paths import Home
from tests.config_files import write_config


def test_edit_changes_only_its_keys_and_keeps_comments(home: Home) -> None:
    text = "# mine\ndo_email: o@x.org  # me\n\nnotify:\n  # slow\n  interval: 60\n  monitor_jobs: true\nlinks: {job: 'https://x.example/{job}'}\n"
    edit(write_config(home, text), {("notify", "interval"): 10})

    assert home.config.read_text(encoding="utf-8") == text.replace("interval: 60", "interval: 10")


def test_edit_of_invalid_yaml_changes_nothing(home: Home) -> None:
    write_config(home, "a: [")
    with pytest.raises(ConfigError, match="nothing was changed"):
        edit(home, {("do_email",): "o@x.org"})

    assert home.config.read_text(encoding="utf-8") == "a: ["


def test_edit_replaces_the_file_that_a_symbolic_link_points_to(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "shared.yaml"
    write_config(home, "do_email: o@x.org\n").config.rename(target)
    home.config.symlink_to(target)

    edit(home, {("notify", "interval"): 10})

    assert home.config.is_symlink()
    assert "interval: 10" in target.read_text(encoding="utf-8")
