"""Writes screenshots of the mails that the documentation shows to docs/images."""

from __future__ import annotations

from pathlib import Path

from syftnotify.core.kinds import Audience, EventKind
from syftnotify.services.samples import sample
from tests.browser.chromium import open_browser
from tests.mail_samples import rendered

_FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
_MAX_HEIGHT = 1500  # pixels
_MAILS = (
    ("new-job", EventKind.JOB_SUBMITTED, Audience.OWNER),
    ("failed", EventKind.JOB_FAILED, Audience.OWNER),
    ("rejected", EventKind.JOB_REJECTED, Audience.SUBMITTER),
    ("digest", EventKind.DIGEST, Audience.OWNER),
)


def main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    with open_browser() as browser:
        for name, kind, audience in _MAILS:
            html = rendered(sample(kind, audience)).html
            for width, scheme in ((375, "dark"), (700, "light")):
                context = browser.new_context(
                    viewport={"width": width, "height": 800}, color_scheme="dark" if scheme == "dark" else "light"
                )
                page = context.new_page()
                page.set_content(html)
                height = min(int(page.evaluate("document.documentElement.scrollHeight")), _MAX_HEIGHT)
                path = _FOLDER / f"mail-{name}-{width}-{scheme}.png"
                area = {"x": 0, "y": 0, "width": width, "height": height}
                page.screenshot(path=path, clip=area, full_page=True)  # type: ignore[arg-type] # its type is not public
                context.close()


if __name__ == "__main__":
    main()
