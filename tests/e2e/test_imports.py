"""Importing the package."""

from __future__ import annotations

import subprocess
import sys

from tests.support import PROJECT_ROOT

NAMES = ["emit", "GmailAuth", "GmailSender", "TemplateRenderer", "JsonStateManager", "JobMonitor", "PeerMonitor"]


def test_package_provides_the_documented_names_lazily() -> None:
    """S18"""
    page = (PROJECT_ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    program = (
        "import sys, syftnotify\n"
        "assert not {'google', 'sqlalchemy', 'jinja2', 'pydantic'} & sys.modules.keys()\n"
        f"for name in {NAMES}: getattr(syftnotify, name)"
    )

    assert [name for name in NAMES if f"`{name}" not in page] == []
    subprocess.run([sys.executable, "-c", program], check=True)
