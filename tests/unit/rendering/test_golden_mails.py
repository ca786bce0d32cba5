"""The wording of all mails, as reviewed: `python -m tests.golden_mails` updates the files."""

from __future__ import annotations

import pytest

from tests.golden_mails import FOLDER, golden_texts


@pytest.mark.thorough
def test_text_parts_of_all_mails_are_as_reviewed() -> None:
    """X13"""
    reviewed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}

    assert golden_texts() == reviewed
