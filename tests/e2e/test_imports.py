"""Importing the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import TOP


@pytest.mark.parametrize(
    "name", ["emit", "GmailAuth", "GmailSender", "TemplateRenderer", "JsonStateManager", "JobMonitor", "PeerMonitor"]
)
def test_package_provides_the_documented_names_lazily(name: str) -> None:
    """S18"""
    assert f"`{name}" in (TOP / "docs" / "python.md").read_text(encoding="utf-8")
    code = (
        "import sys, syftnotify\n"
        "assert not {'google', 'sqlalchemy', 'jinja2', 'pydantic'} & sys.modules.keys()\n"
        f"syftnotify.{name}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
