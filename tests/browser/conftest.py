"""The browser that all tests of a process share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chromium import chromium_path, open_browser
from tests.support import TIMEOUT


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if chromium_path() is None:
        if os.environ.get("SYFTNOTIFY_REQUIRES_BROWSER"):
            pytest.fail("chromium is not installed; install Debian's package chromium")
        pytest.skip("chromium is not installed; install Debian's package chromium, or set CHROMIUM")
    expect.set_options(timeout=TIMEOUT * 1000)  # no limit decides a test
    with open_browser() as opened:
        yield opened
