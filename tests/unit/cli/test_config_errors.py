"""Commands with an invalid configuration."""

from __future__ import annotations

import pytest

from tests.support import OWNER, Box


@pytest.mark.parametrize("command", [("start",), ("doctor",), ("run", "--dry-run"), ("test",), ("prune",)])
def test_command_with_config_errors_lists_template_errors_too(box: Box, command: tuple[str, ...]) -> None:
    """D7"""
    hook = {"type": "webhook", "url": "https://x.example", "format": "template", "body": "{{ nope }}"}
    box.configure({"transports": {"box": {"type": "maildir"}, "w": hook}, "routes+": [{"via": "nosuch"}]})

    done = box.notify(*command)

    assert "config.yaml: 2 errors" in done.stdout + done.stderr
    assert "transports.w.body: 'nope' is undefined" in done.stdout + done.stderr


@pytest.mark.parametrize("to", ["to: [#failures]", "to: [owner, #failures]", "to:\n      - #failures"])
def test_channel_without_quotes_is_explained(box: Box, to: str) -> None:
    """YAML reads it as a comment."""
    box.home.config.write_text(
        f"do_email: {OWNER}\ntransports: {{box: {{type: maildir}}}}\nroutes:\n  - events: [job_failed]\n    {to}\n"
    )

    assert "a `#` begins a comment" in " ".join(box.notify("run", "--once", check=2).stderr.split())
