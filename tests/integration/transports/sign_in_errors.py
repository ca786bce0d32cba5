"""Assertions about errors of signing in to Google."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syftnotify.core.errors import NotSignedInError
from tests.fakes.google import (
    SECRET,
)


def file_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def formatted_traceback(error: BaseException) -> str:
    """Everything that a log would show of an error: its text, its causes, their lines."""
    return "".join(traceback.format_exception(error))


def refused(call: Callable[[], Any]) -> NotSignedInError:
    """The error of a sign-in that must fail; none of our secrets is in it."""
    with pytest.raises(NotSignedInError) as caught:
        call()
    assert SECRET not in formatted_traceback(caught.value)
    return caught.value
