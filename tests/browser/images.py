"""Writes screenshots of the mails and pages that the documentation shows to docs/images."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect

from syftnotify.core.identifiers import url_id
from syftnotify.core.kinds import Audience, EventKind
from syftnotify.core.metrics import Sample
from syftnotify.services.samples import sample
from tests.browser.chromium import open_browser
from tests.mail_samples import rendered
from tests.pages import fill, visiting
from tests.support import OWNER, Box
from tests.web import serve

_FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
_MAX_HEIGHT = 1500  # pixels
_COVER_HEIGHT = 520  # of the part of a mail that the README shows
_MAILS = (
    ("new-job", EventKind.JOB_SUBMITTED, Audience.OWNER),
    ("failed", EventKind.JOB_FAILED, Audience.OWNER),
    ("rejected", EventKind.JOB_REJECTED, Audience.SUBMITTER),
    ("digest", EventKind.DIGEST, Audience.OWNER),
)


_WIDTHS = ((375, "light"), (700, "dark"))
_SEEN = (("waiting", ""), ("inbox", "inbox"), ("rules", "rules"), ("status", "status"))


def main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    with open_browser() as browser:
        for name, kind, audience in _MAILS:
            html = rendered(sample(kind, audience)).html
            for width, scheme in ((375, "dark"), (700, "light")):
                context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=_scheme(scheme))
                page = context.new_page()
                page.set_content(html)
                save(page, _FOLDER / f"mail-{name}-{width}-{scheme}.png", width)
                if (name, scheme) == ("new-job", "light"):
                    save(page, _FOLDER / "cover.png", width, _COVER_HEIGHT)
                context.close()
        save_pages(browser)


def save_pages(browser: Browser) -> None:
    """The pages of a home with some jobs."""
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder))
        box.root.mkdir()
        with serve(box, config={"notify": {"interval": 1, "on_unknown": "hold"}}) as served:
            tree = fill(served)
            for number in range(96):  # a sample for each quarter of an hour of the last day
                moment = time.time() - (96 - number) * 900.0
                sent = number // 3 + (number % 7 == 0) * 2
                served.outbox.samples.add(Sample(moment, sent, number // 40, 0, 30.0 * (number % 20 == 0)), 0.0)
            seen = [*_SEEN, ("job", f"jobs/{url_id(tree.entity('ages-2'))}")]
            for width, scheme in _WIDTHS:
                with visiting(
                    browser, served, viewport={"width": width, "height": 800}, color_scheme=_scheme(scheme)
                ) as visit:
                    for name, path in seen:
                        visit.open(path)
                        if path == "rules":
                            preview_rule(visit.page)
                        save(visit.page, _FOLDER / f"page-{name}-{width}-{scheme}.png", width)


def preview_rule(page: Page) -> None:
    page.get_by_label("Jobs").fill("ages-*")
    page.get_by_label("Mail address, webhook").fill(OWNER)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_be_visible()


def save(page: Page, path: Path, width: int, limit: int = _MAX_HEIGHT) -> None:
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), limit)
    area = {"x": 0, "y": 0, "width": width, "height": height}
    page.screenshot(path=path, clip=area, full_page=True)  # type: ignore[arg-type] # its type is not public


def _scheme(name: str) -> Literal["dark", "light"]:
    return "dark" if name == "dark" else "light"


if __name__ == "__main__":
    main()
