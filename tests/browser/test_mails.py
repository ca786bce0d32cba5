"""Every mail, realistic and hostile, as a browser shows it (X13)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from syftnotify.services.samples import Sample, all_samples
from tests.mail_samples import rendered

WIDTHS = (375, 700)  # a phone, and the reading pane of a desktop program
# Properties that Gmail, Outlook or Apple Mail are documented to ignore.
_UNSUPPORTED = re.compile(r"(?:overflow-wrap|max-width|min-width|min-height|text-indent)\s*:[^;\"}]*;?")
_STYLE_ELEMENTS = re.compile(r"<style.*?</style>", re.DOTALL)

pytestmark = pytest.mark.browser


@contextmanager
def opened(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the messages of its console and the requests that it makes, which are refused."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 800})
    try:
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: messages.append(f"request of {request.url}"))
        page.route("**/*", lambda route: route.abort())
        yield page, messages
    finally:
        context.close()


def overflow_of(page: Page, width: int) -> int:
    """How many pixels of the page are beyond a window of that width."""
    page.set_viewport_size({"width": width, "height": 800})
    found = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("sample", list(all_samples()), ids=lambda sample: sample.name)
def test_mail_fits_phone_and_desktop_and_is_accessible(browser: Browser, sample: Sample) -> None:
    """In light and dark colours, and without the CSS that mail programs drop; axe finds nothing."""
    html = rendered(sample).html
    with opened(browser) as (page, messages):
        page.set_content(html)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert [overflow_of(page, width) for width in WIDTHS] == [0, 0], scheme
            results = Axe().run(page)
            assert [each["id"] for each in results.response["violations"]] == [], results.generate_report()
        assert [page.locator(name).count() for name in ("main", "h1", "script, img, link, iframe")] == [1, 1, 0]
        for text in (_UNSUPPORTED.sub("", html), _STYLE_ELEMENTS.sub("", _UNSUPPORTED.sub("", html))):
            page.set_content(text)
            assert [overflow_of(page, width) for width in WIDTHS] == [0, 0], "without unsupported CSS"
        assert messages == []
