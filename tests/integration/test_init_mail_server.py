"""`notify init` with a real mail server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.mailserver import serve_mail
from tests.queries import read_config
from tests.support import OWNER, Box


@pytest.mark.parametrize("given", ["user@", "user:p%40ss@", ""])
def test_init_smtp_password_is_stored_encrypted(new_user: Box, user_home: Path, given: str) -> None:
    """G11, N03: whether it is part of the URL or read from standard input."""
    users = {"user": "p@ss"} if given else {}
    with serve_mail(users=users) as server:
        url = f"smtp://{given}127.0.0.1:{server.port}"
        arguments = ("init", "--email", OWNER, "--smtp-url", url, "--role", "scientist")
        done = new_user.notify(*arguments, check=0, stdin="p@ss\n")

        (mail,) = server.committed
        assert (mail.to, mail.event, mail.user) == (OWNER, "test", "user" if given else "")
        assert "through mail" in done.stdout
    config = read_config(user_home)
    assert config["role"] == "scientist"
    assert config["transports"]["mail"]["smtp_url"] == ("secret:smtp" if given else url)
    for path in user_home.rglob("*"):
        assert not path.is_file() or b"p@ss" not in path.read_bytes()


def test_init_smtp_url_after_maildir_sends_by_smtp(new_user: Box, user_home: Path) -> None:
    """D5: the next step in the README; comments and other settings stay."""
    new_user.notify("init", "--email", OWNER, "--transport", "maildir", "--no-test", check=0)
    config = user_home / "config.yaml"
    config.write_text(config.read_text() + "# mine\nrecipients: {allow: ['*@uni.example']}  # all of them\n")

    with serve_mail() as server:
        done = new_user.notify("init", "--smtp-url", f"smtp://127.0.0.1:{server.port}", check=0)
        (mail,) = server.committed

    assert mail.event == "test"
    assert "mail goes out through transport `mail` (smtp)" in done.stdout
    assert read_config(user_home)["transports"] == {
        "mail": {"type": "smtp", "smtp_url": f"smtp://127.0.0.1:{server.port}"}
    }
    assert "# mine" in config.read_text()
    assert "# all of them" in config.read_text()
