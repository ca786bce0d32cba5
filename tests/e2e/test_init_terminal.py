"""`notify init` in a real terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mailserver import serve_mail
from tests.queries import read_config
from tests.support import BO, OWNER, Box, mails_in
from tests.syft_bg import restore_syft_bg
from tests.terminal import OpenTerminal

pytestmark = pytest.mark.check_only


@pytest.mark.parametrize(
    ("contact", "written"),
    [
        pytest.param("", {}, marks=pytest.mark.thorough),
        (BO, {"operators": [BO]}),
        pytest.param(
            "https://ping.example/abc",
            {"heartbeat": {"ping_url": "https://ping.example/abc"}},
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_init_in_terminal_asks_for_the_missing_values(
    new_user: Box, user_home: Path, tmp_path: Path, open_terminal: OpenTerminal, contact: str, written: dict[str, Any]
) -> None:
    """S15, S16."""
    terminal = open_terminal(new_user, "init")

    terminal.answer("mail address", OWNER)
    (tmp_path / "file").write_text("")
    terminal.answer(f"[{tmp_path}/SyftBox_{OWNER}]", str(tmp_path / "file"))
    terminal.answer("SyftBox folder", str(tmp_path / "box"))
    terminal.answer("Mail transport", "maildir")
    terminal.answer("Alert contact", contact)

    assert terminal.wait() == 0, terminal.output
    config = read_config(user_home)
    assert (config["do_email"], config["syftbox_root"]) == (OWNER, str(tmp_path / "box"))
    assert {key: config[key] for key in ("operators", "heartbeat") if key in config} == written
    assert "notify start" in terminal.output
    assert [(mail.event, mail.audience, mail.to) for mail in mails_in(user_home / "mail")] == [("test", "owner", OWNER)]


@pytest.mark.thorough
def test_init_in_terminal_does_not_ask_for_given_options(
    new_user: Box, open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    """S16."""
    arguments = ("--email", OWNER, "--syftbox-root", str(tmp_path), "--transport", "maildir", "--alert-contact", BO)
    terminal = open_terminal(new_user, "init", *arguments)

    assert terminal.wait() == 0, terminal.output
    assert "?" not in terminal.output


@pytest.mark.thorough
def test_init_in_terminal_offers_the_import_from_syft_bg(
    new_user: Box, user_home: Path, open_terminal: OpenTerminal
) -> None:
    """S16: and asks for nothing else."""
    restore_syft_bg(new_user, "0.3.12")
    terminal = open_terminal(new_user, "init", "--transport", "maildir")

    terminal.answer("Take over its settings and its record of sent mail", "")

    assert terminal.wait() == 0, terminal.output
    assert read_config(user_home)["notify"]["interval"] == 5
    assert "15 still to be notified" in terminal.output


HAND_MADE = f"""\
# my own comment
do_email: "{OWNER}"   # that is me
syftbox_root: ~/box

notify:
  # not so often
  interval: 45   # seconds
  monitor_jobs: true

recipients:
  allow:
    - '*@uni.example'   # the whole faculty
transports:
  box: {{type: maildir, path: off-site}}
"""


@pytest.mark.thorough
def test_init_in_terminal_with_existing_config_asks_nothing(
    new_user: Box, user_home: Path, open_terminal: OpenTerminal
) -> None:
    """S16."""
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)
    terminal = open_terminal(new_user, "init", "--interval", "20", "--no-test")

    assert terminal.wait() == 0, terminal.output
    assert read_config(user_home)["notify"]["interval"] == 20


def test_init_in_terminal_with_existing_config_shows_it_and_asks_what_to_change(
    new_user: Box, user_home: Path, open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    user_home.mkdir()
    (user_home / "config.yaml").write_text(HAND_MADE)
    terminal = open_terminal(new_user, "init", "--no-test")

    terminal.answer("Change email, folder", "intervall")
    terminal.answer("enter one of", "interval")
    terminal.answer("Interval between two scans", "0")
    terminal.answer("expected", "90s")
    terminal.answer("Change email, folder", "folder")
    terminal.answer("SyftBox folder", str(tmp_path / "box"))
    terminal.answer("Change email, folder", "")

    assert terminal.wait() == 0, terminal.output
    assert "45 s between two scans" in terminal.output
    config = read_config(user_home)
    assert (config["notify"]["interval"], config["syftbox_root"]) == ("90s", str(tmp_path / "box"))
    assert "# my own comment" in (user_home / "config.yaml").read_text()


@pytest.mark.thorough
def test_init_in_terminal_changes_the_mail_server(new_user: Box, user_home: Path, open_terminal: OpenTerminal) -> None:
    with serve_mail() as old, serve_mail(users={"me": "new password"}) as new:
        new_user.notify("init", "--email", OWNER, "--smtp-url", f"smtp://127.0.0.1:{old.port}", check=0)
        terminal = open_terminal(new_user, "init")
        terminal.answer("Change email, folder", "mail")
        terminal.answer("Mail transport", "")
        terminal.answer("Mail server, as", f"smtp://me@127.0.0.1:{new.port}")
        terminal.answer("Change email, folder", "")
        terminal.answer("Password of me: ", "new password")

        assert terminal.wait() == 0, terminal.output
        assert [mail.user for mail in new.committed] == ["me"]


def test_init_in_terminal_interrupted_changes_nothing(
    new_user: Box, user_home: Path, open_terminal: OpenTerminal
) -> None:
    """S16."""
    terminal = open_terminal(new_user, "init")

    terminal.answer("mail address", OWNER)
    terminal.answer("SyftBox folder", "")
    terminal.interrupt("Mail transport")

    assert terminal.wait() != 0
    assert "Traceback" not in terminal.output
    assert not (user_home / "config.yaml").exists()
