"""The registry of transports: names, and media in notification ids."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import syftnotify
from syftnotify.transports.registry import TRANSPORT_TYPES

# Texts that are equal to the name of a type and mean something else, or that a person could have typed.
_OTHER_MEANINGS = {
    ("core/identifiers.py", "slack"),  # stored values of address types
    ("core/identifiers.py", "webhook"),
    ("cli/alerts.py", "webhook"),  # a value in the output of `notify alerts list --json`
    ("web/records.py", "smtp"),  # an example
    ("web/records.py", "webhook"),
    ("web/requests.py", "webhook"),  # a value in requests and answers about alert rules
    ("services/demo.py", "maildir"),  # the configuration of the demo
}


@pytest.mark.thorough
def test_transport_type_is_named_in_its_folder_only() -> None:
    """A new transport needs a folder and a registry entry, because no other module knows of single types."""
    package = Path(syftnotify.__file__).parent
    found = {
        (str(file.relative_to(package)), node.value)
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TRANSPORT_TYPES
    }
    outside = {(file, kind) for file, kind in found if not file.startswith(f"transports/{kind}/")}
    assert outside <= _OTHER_MEANINGS


@pytest.mark.parametrize("kind", TRANSPORT_TYPES)
def test_medium_is_part_of_notification_ids(kind: str) -> None:
    """It is stored: another one would send every notification again. All mail is one medium."""
    is_mail = kind in {"gmail", "smtp", "maildir"}

    assert TRANSPORT_TYPES[kind].medium("team") == ("mail" if is_mail else f"{kind}/team")
