"""Lines of a log file."""

from __future__ import annotations

from pathlib import Path


def line(number: int, level: str = "INFO") -> str:
    return f"2026-01-01T00:00:00.{number:03d}Z {level} syftnotify.worker: line {number}"


def append(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{one}\n" for one in lines)
