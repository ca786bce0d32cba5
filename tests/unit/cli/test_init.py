"""`notify init` without a terminal: a new configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.queries import read_config
from tests.support import BO, OWNER, Box, mails_in


def test_init_with_options_writes_config_and_sends_a_test_mail(new_user: Box, user_home: Path, tmp_path: Path) -> None:
    """S15, S16."""
    (tmp_path / "box").mkdir()

    new_user.notify(
        *("init", "--email", OWNER, "--syftbox-root", str(tmp_path / "box"), "--no-notify-jobs", "--notify-peers"),
        *("--interval", "12", "--transport", "maildir"),
        check=0,
    )

    config = read_config(user_home)
    assert (config["do_email"], config["syftbox_root"]) == (OWNER, str(tmp_path / "box"))
    assert config["notify"] == {"interval": 12, "monitor_jobs": False, "monitor_peers": True}
    assert [(mail.event, mail.audience, mail.to) for mail in mails_in(user_home / "mail")] == [("test", "owner", OWNER)]
    assert user_home.stat().st_mode & 0o777 == 0o700
    assert (user_home / "config.yaml").stat().st_mode & 0o777 == 0o600


def test_init_unusable_mail_server_is_refused(new_user: Box, user_home: Path) -> None:
    for arguments, error in (
        (("--transport", "smtp"), "--smtp-url smtp://"),
        (("--smtp-url", "mail.example"), "expected a URL such as"),
        (("--smtp-url", "smtp://user@mail.example"), "the password of user is missing"),
    ):
        done = new_user.notify("init", "--email", OWNER, *arguments, check=2)
        assert error in " ".join(done.stderr.split())
    assert not (user_home / "config.yaml").exists()


def test_init_second_smtp_url_replaces_the_first(new_user: Box, user_home: Path) -> None:
    for port in (2525, 2526):
        arguments = ("--smtp-url", f"smtp://127.0.0.1:{port}", "--no-test")
        new_user.notify("init", "--email", OWNER, *arguments, check=0)
    assert read_config(user_home)["transports"] == {"mail": {"type": "smtp", "smtp_url": "smtp://127.0.0.1:2526"}}


def test_init_with_contradicting_options_is_refused(new_user: Box, user_home: Path) -> None:
    """D5"""
    arguments = ("--email", OWNER, "--transport", "maildir", "--smtp-url", "smtp://127.0.0.1:1")

    assert "--smtp-url contradicts --transport maildir" in new_user.notify("init", *arguments, check=2).stderr
    assert not (user_home / "config.yaml").exists()


@pytest.mark.parametrize("root", ["FILE", "FILE/below"])
def test_init_with_a_file_as_syftbox_root_is_refused(new_user: Box, user_home: Path, tmp_path: Path, root: str) -> None:
    """D6"""
    (tmp_path / "file").write_text("")
    arguments = (
        "--email",
        OWNER,
        "--transport",
        "maildir",
        "--syftbox-root",
        root.replace("FILE", str(tmp_path / "file")),
    )

    assert f"--syftbox-root: {tmp_path}/file is not a folder" in new_user.notify("init", *arguments, check=2).stderr
    assert not (user_home / "config.yaml").exists()


@pytest.mark.parametrize("value", ["0", "soon", "nan", "-1", "86401", "2d", "30x"])
def test_init_with_wrong_interval_names_the_option(new_user: Box, value: str) -> None:
    """D6"""
    done = new_user.notify("init", "--email", OWNER, "--interval", value, check=2)

    assert "'--interval': expected 1 to 86400 seconds" in " ".join(done.stderr.split())
    assert "config.yaml" not in done.stderr


@pytest.mark.parametrize(("contact", "is_warned"), [(BO, True), ("https://ping.example/abc", False)])
def test_init_alert_contact_address_without_second_mail_is_explained(
    new_user: Box, contact: str, is_warned: bool
) -> None:
    """B5: an address needs a second mail transport."""
    arguments = ("--email", OWNER, "--transport", "maildir", "--no-test", "--alert-contact", contact)
    done = new_user.notify("init", *arguments, check=0)

    assert ("pass a ping URL" in " ".join(done.stderr.split())) is is_warned


@pytest.mark.parametrize("contact", ["", " "])
def test_init_empty_alert_contact_is_refused(new_user: Box, contact: str) -> None:
    """B5: for example from an unset shell variable."""
    done = new_user.notify("init", "--email", OWNER, "--alert-contact", contact, check=2)

    assert "got an empty text" in " ".join(done.stderr.split())


def test_init_alert_contact_with_second_mail_is_not_explained(box: Box) -> None:
    """B5"""
    box.configure({"transports": {"a": {"type": "maildir"}, "b": {"type": "maildir", "path": "other"}}})

    assert "ping URL" not in box.notify("init", "--alert-contact", BO, "--no-test", check=0).stderr


@pytest.mark.parametrize("name", [f"SyftBox_{OWNER}", "SyftBox"])
def test_init_finds_the_syftbox_folder(new_user: Box, user_home: Path, tmp_path: Path, name: str) -> None:
    """S15."""
    (tmp_path / name).mkdir()

    done = new_user.notify("init", "--email", OWNER, "--no-test", check=5)

    assert str(tmp_path / name) in done.stdout
    assert read_config(user_home)["syftbox_root"] == str(tmp_path / name)


@pytest.mark.thorough
def test_init_without_sign_in_exits_with_code_five(new_user: Box, user_home: Path) -> None:
    """S15, D6: and prints the next step."""
    done = new_user.notify("init", "--email", OWNER, check=5)

    assert "Not signed in yet" in done.stdout
    assert "notify init --credentials" in done.stdout
    assert "`notify start` fails (exit code 2)" in done.stdout
    assert "sent a test mail" not in done.stdout
    assert new_user.notify("start").returncode == 2


def test_init_without_terminal_names_the_missing_option(new_user: Box, user_home: Path) -> None:
    """S16."""
    done = new_user.notify("init", check=2)

    assert "--email" in done.stderr
    assert not (user_home / "config.yaml").exists()


def test_init_with_wrong_value_writes_no_new_file(new_user: Box, user_home: Path) -> None:
    """S15."""
    new_user.notify("init", "--email", OWNER, "--interval", "0", check=2)

    assert not (user_home / "config.yaml").exists()


def test_init_offers_and_configures_the_server(new_user: Box, user_home: Path, tmp_path: Path) -> None:
    arguments = ("--email", OWNER, "--syftbox-root", str(tmp_path), "--transport", "maildir", "--no-test")

    assert "`notify init --serve`" in new_user.notify("init", *arguments, check=0).stdout
    done = new_user.notify("init", "--serve", "--no-test", check=0)
    assert read_config(user_home)["serve"] == {"enabled": True}
    assert "serves the page and the API on http://127.0.0.1:8780" in done.stdout
    assert f"notify token create --user {OWNER}" in done.stdout
    new_user.notify("init", "--no-serve", "--no-test", check=0)
    assert read_config(user_home)["serve"] == {"enabled": False}
