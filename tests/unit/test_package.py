"""The names of the package and their lazy imports."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import syftnotify
from tests.support import TIMEOUT


@pytest.mark.parametrize(
    "name", ["GmailAuth", "GmailSender", "TemplateRenderer", "JsonStateManager", "JobMonitor", "PeerMonitor"]
)
def test_package_exports_every_documented_class(name: str) -> None:
    """S18."""
    assert inspect.isclass(getattr(syftnotify, name))
    assert name in syftnotify.__all__
    assert name in dir(syftnotify)


def test_package_without_a_name_raises_attribute_error() -> None:
    """S18."""
    with pytest.raises(AttributeError, match="GmailSendr"):
        _ = syftnotify.GmailSendr


def test_package_import_loads_nothing_heavy() -> None:
    """S18: a program that only wants one class does not pay for all."""
    code = (
        "import sys, syftnotify\n"
        "heavy = {'google', 'googleapiclient', 'sqlalchemy', 'jinja2', 'requests', 'yaml', 'httpcore', 'httpx'}\n"
        "heavy.add('pydantic')\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=TIMEOUT)

    assert done.stdout.strip() == "[]"
