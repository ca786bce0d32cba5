"""The text parts of all sample mails as files: `python -m tests.golden_mails` writes them after a change of wording."""

from __future__ import annotations

from pathlib import Path

from syftnotify.services.samples import all_samples
from tests.mail_samples import rendered

FOLDER = Path(__file__).parent / "data" / "mails"


def golden_texts() -> dict[str, str]:
    """Subject and text part of each sample, by file name."""
    mails = ((sample.name, rendered(sample)) for sample in all_samples())
    return {f"{name}.txt": f"Subject: {message.subject}\n\n{message.text}" for name, message in mails}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    texts = golden_texts()
    for path in FOLDER.iterdir():
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
